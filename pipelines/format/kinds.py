"""Find out from its files which task a model is for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

import pipelines.format.architectures  # noqa: F401  registers the project's architectures
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import Kind, Task


@dataclass(frozen=True, slots=True)
class Head:
    """A task, its kind of model, and the transformers class that loads it; None: sentence-transformers loads it."""

    task: Task
    kind: Kind
    auto_class: Any = None


EXTRACTOR = Head("qa", "extractor", AutoModelForQuestionAnswering)
CLASSIFIER = Head("cola", "classifier", AutoModelForSequenceClassification)
CROSS_ENCODER = Head("sts", "cross-encoder", AutoModelForSequenceClassification)
BI_ENCODER = Head("sts", "bi-encoder")


def head_of(folder: Path) -> Head:
    """The task and kind of the model in a folder.

    The architecture's name in `config.json` tells question answering and sequence classification; the latter is a
    cross-encoder if it has one output and a classifier if it has two. A sentence-transformers folder or an encoder
    without a head is a bi-encoder.
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
    raise CheckpointUnsupported(str(folder), f"a classifier of {outputs} classes; only one or two are served")


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
