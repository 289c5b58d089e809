"""Refuse folders that name classes which the installed transformers does not have: their files are not damaged."""

import json
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.tokenizer import TOKENIZER

LIBRARY = f"transformers {transformers.__version__}"


def refuse_unknown_classes(folder: Path) -> None:
    """Raise CheckpointUnsupported if a folder needs a model type or a tokenizer class that transformers does not have.

    With a tokenizer.json, the class of the tokenizer does not matter. Without one, transformers would take another
    class, whose tokens may differ.
    """
    for path in folder.rglob("config.json"):
        kind = _read(path).get("model_type")
        if kind and kind not in CONFIG_MAPPING:
            why = f"model_type {kind!r} is unknown to {LIBRARY}; a newer version may have it"
            raise CheckpointUnsupported(str(path), why)
    for path in folder.rglob("tokenizer_config.json"):
        name = _read(path).get("tokenizer_class")
        if name and not (path.parent / TOKENIZER).is_file() and not _has_tokenizer(str(name)):
            why = f"names the tokenizer class {name}, which {LIBRARY} does not have; save the tokenizer as {TOKENIZER}"
            raise CheckpointUnsupported(str(path), why)


def _has_tokenizer(name: str) -> bool:
    return any(tokenizer_class_from_name(name.removesuffix("Fast") + end) is not None for end in ("", "Fast"))


def _read(path: Path) -> dict[str, Any]:
    with refusing_damage(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))
