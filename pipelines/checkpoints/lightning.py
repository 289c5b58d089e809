"""Convert PyTorch Lightning files, whose `state_dict` has keys that begin with `model.`, using their base model."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoConfig

from pipelines.checkpoints.sources import FILE_PATTERNS
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.kinds import CLASSIFIER, CROSS_ENCODER, EXTRACTOR, Head
from pipelines.format.loading import refusing_damage
from pipelines.format.pickles import read_pickle
from pipelines.format.weights import narrowest, store_as

PREFIX = "model."


def write_transformers(checkpoint: Path, base: Path, folder: Path) -> None:
    """Write a transformers folder from a Lightning file and the folder of its base model.

    Config and tokenizer come from the base model. All weights come from the file and keep their number format. Raises
    CheckpointError.
    """
    state = _state_dict(checkpoint)
    head = _head_of(checkpoint, state)
    with refusing_damage(base):
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        if head is not EXTRACTOR:
            config.num_labels = 1 if head is CROSS_ENCODER else 2
            config.problem_type = "regression" if head is CROSS_ENCODER else None  # that of the base means nothing here
        model = head.auto_class.from_config(config, dtype=torch.float32)
    _fill(model, state, checkpoint)
    store_as(model, narrowest(value.dtype for value in state.values()), checkpoint)
    model.save_pretrained(folder)
    _copy_tokenizer(base, folder)


def _state_dict(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights whose keys begin with `model.`, without that prefix."""
    content = read_pickle(checkpoint)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointDamaged(str(checkpoint), "not a Lightning file: it has no state_dict")
    weights = {str(key).removeprefix(PREFIX): value for key, value in state.items() if str(key).startswith(PREFIX)}
    if not weights:
        raise CheckpointUnsupported(str(checkpoint), f"no key of its state_dict begins with {PREFIX!r}")
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointDamaged(str(checkpoint), "its state_dict holds more than tensors")
    return weights


def _head_of(checkpoint: Path, state: Mapping[str, torch.Tensor]) -> Head:
    """The head, which is recognized by the name and size of its bias."""
    if "qa_outputs.bias" in state:
        return EXTRACTOR
    outputs = next((state[key].numel() for key in _CLASSIFIERS if key in state), 0)
    if outputs not in (1, 2):
        raise CheckpointUnsupported(str(checkpoint), "its weights have no head that this project serves")
    return CROSS_ENCODER if outputs == 1 else CLASSIFIER


_CLASSIFIERS = ("classifier.bias", "classifier.out_proj.bias")


def _fill(model: torch.nn.Module, state: Mapping[str, torch.Tensor], checkpoint: Path) -> None:
    """Load all of `state` into `model`.

    A weight without a place means that the file was tuned on another base model. Only position ids and unused poolers,
    which older versions saved too, may be left over.
    """
    try:
        missing, unknown = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointDamaged(str(checkpoint), "its weights' shapes are not those of the base model") from error
    if missing:
        raise CheckpointDamaged(str(checkpoint), f"its weights lack {', '.join(missing[:3])}")
    unplaced = [key for key in unknown if not _UNUSED.search(key)]
    if unplaced:
        raise CheckpointDamaged(str(checkpoint), f"the base model has no place for {', '.join(unplaced[:3])}")


_UNUSED = re.compile(r"\.position_ids$|(^|\.)pooler\.")


def _copy_tokenizer(base: Path, folder: Path) -> None:
    for pattern in FILE_PATTERNS:
        for path in base.glob(pattern):
            if path.suffix != ".safetensors" and not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
