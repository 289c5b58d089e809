"""Which task a folder's model is for, read off its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

import pipelines.format.architectures  # noqa: F401  registers those of the project
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import Kind, Task


@dataclass(frozen=True, slots=True)
class Head:
    """A task, the kind of model, and the transformers class that loads it; None: sentence-transformers does."""

    task: Task
    kind: Kind
    auto_class: Any = None


EXTRACTOR = Head("qa", "extractor", AutoModelForQuestionAnswering)
CLASSIFIER = Head("cola", "classifier", AutoModelForSequenceClassification)
CROSS_ENCODER = Head("sts", "cross-encoder", AutoModelForSequenceClassification)
BI_ENCODER = Head("sts", "bi-encoder")


def head_of(folder: Path) -> Head:
    """What the folder's model does.

    Question answering and sequence classification by their names in `config.json`, the latter with one output (a
    cross-encoder) or two (a classifier); a sentence-transformers folder or a bare encoder is a bi-encoder.
    Raises CheckpointNotFound, CheckpointDamaged, CheckpointUnsupported.
    """
    config = _read(folder / "config.json", missing_ok=(folder / "modules.json").is_file())
    architecture = next(iter(config.get("architectures") or []), "")
    if architecture.endswith("ForQuestionAnswering"):
        return EXTRACTOR
    if architecture.endswith("ForSequenceClassification"):
        return _by_outputs(folder, len(config.get("id2label") or {0: "", 1: ""}))
    if (folder / "modules.json").is_file() or architecture.endswith("Model"):
        return BI_ENCODER
    raise CheckpointUnsupported(str(folder), f"no task here serves {architecture or 'a model without a name'}")


def _by_outputs(folder: Path, outputs: int) -> Head:
    if outputs == 1:
        return CROSS_ENCODER
    if outputs == 2:
        return CLASSIFIER
    raise CheckpointUnsupported(str(folder), f"a classifier of {outputs} classes; one or two are served")


def _read(path: Path, *, missing_ok: bool) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if missing_ok:
            return {}
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except ValueError as error:
        raise CheckpointDamaged(str(path), "not JSON") from error
    if not isinstance(config, dict):
        raise CheckpointDamaged(str(path), "not a JSON object")
    return config


def auto_class_of(kind: Kind) -> Any:
    """The transformers class that loads a checkpoint of this kind."""
    return next(head.auto_class for head in (EXTRACTOR, CLASSIFIER, CROSS_ENCODER) if head.kind == kind)
