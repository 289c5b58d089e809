"""Refuse folders with classes or values that the installed transformers can't use: their files are not damaged."""

import json
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from pipelines.checkpoints.limits import UNLIMITED
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.tokenizer import TOKENIZER

LIBRARY = f"transformers {transformers.__version__}"
DISTRIBUTED = {
    "*.distcp": "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt",
    "zero_pp_rank_*": "python zero_to_fp32.py FOLDER weights.bin",
}
"""Names of files of PyTorch (FSDP) and DeepSpeed, and the command that joins them."""
LFS_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS keeps in place of a large one."""


def refuse_unusable(folder: Path) -> None:
    """Raise CheckpointUnsupported, naming the file, if transformers can't use what a folder names.

    That is a model type or a tokenizer class that it does not have, or a longest input that is no whole number. With a
    tokenizer.json, the class of the tokenizer does not matter. Without one, transformers would take another class,
    whose tokens may differ.
    """
    for path in folder.rglob("config.json"):
        kind = _read(path).get("model_type")
        if kind and kind not in CONFIG_MAPPING:
            why = f"model_type {kind!r} is unknown to {LIBRARY}; a newer version may have it"
            raise CheckpointUnsupported(str(path), why)
    for path in folder.rglob("tokenizer_config.json"):
        _refuse_other_length(path, _read(path).get("model_max_length"))
        name = _read(path).get("tokenizer_class")
        if name and not (path.parent / TOKENIZER).is_file() and not _has_tokenizer(str(name)):
            why = f"names the tokenizer class {name}, which {LIBRARY} does not have; save the tokenizer as {TOKENIZER}"
            raise CheckpointUnsupported(str(path), why)


def refuse_pointers(folder: Path) -> None:
    """Raise CheckpointDamaged if a file of weights is what Git keeps in its place, without Git LFS installed."""
    for path in (*folder.rglob("*.safetensors"), *folder.rglob("*.bin")):
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                why = "a pointer of Git LFS in place of the weights; fetch them: git lfs pull"
                raise CheckpointDamaged(str(path), why)


def refuse_distributed(folder: Path) -> None:
    """Raise CheckpointUnsupported if a folder has the parts of a model that several processes saved."""
    for pattern, command in DISTRIBUTED.items():
        if path := next(folder.rglob(pattern), None):
            why = f"a part of a model that several processes saved; join the parts: {command}, and import that file"
            raise CheckpointUnsupported(str(path), why)


def _refuse_other_length(path: Path, longest: Any) -> None:
    """Raise CheckpointUnsupported if the longest input is no whole number; large numbers, such as 1e30, mean none."""
    if longest is None or isinstance(longest, int) or (isinstance(longest, float) and longest >= UNLIMITED):
        return
    why = f"its model_max_length is {longest!r}; write a whole number of tokens, or remove it if there is no limit"
    raise CheckpointUnsupported(str(path), why)


def _has_tokenizer(name: str) -> bool:
    return any(tokenizer_class_from_name(name.removesuffix("Fast") + end) is not None for end in ("", "Fast"))


def _read(path: Path) -> dict[str, Any]:
    with refusing_damage(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))
