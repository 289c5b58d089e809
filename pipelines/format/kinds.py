"""Find out from its files which task a model is for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

import pipelines.format.architectures  # noqa: F401  registers the project's architectures
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.activations import LIBRARY_CONFIG
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Kind, Task
from pipelines.format.outputs import outputs_of


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


BEAM_SEARCH = tuple(f"{family}ForQuestionAnswering" for family in ("XLNet", "XLM", "Flaubert"))
"""Architectures whose head for question answering is none that transformers' AutoModelForQuestionAnswering loads."""


def head_of(folder: Path) -> Head:
    """The task and kind of the model in a folder.

    The architecture's name in `config.json` tells question answering and sequence classification; the latter is a
    cross-encoder if it has one output and a classifier if it has two, of which one is right. A sentence-transformers
    folder or an encoder without a head is a bi-encoder.
    Raises CheckpointNotFound, CheckpointDamaged, CheckpointUnsupported.
    """
    config = _read(folder / "config.json", missing_ok=(folder / "modules.json").is_file())
    architecture = next(iter(config.get("architectures") or []), "")
    if architecture in BEAM_SEARCH:
        why = f"{architecture} searches for answers with beams; served is {architecture}Simple, with two logits a token"
        raise CheckpointUnsupported(str(folder), why)
    if architecture.endswith(("ForQuestionAnswering", "ForQuestionAnsweringSimple")):
        return EXTRACTOR
    _refuse_other_cross_encoders(folder, architecture)
    if architecture.endswith("ForSequenceClassification"):
        return _by_outputs(folder)
    if (folder / "modules.json").is_file() or architecture.endswith("Model"):
        return BI_ENCODER
    if not architecture:
        why = 'names no architecture; write the class of the model into it, such as "architectures": ["BertModel"]'
        raise CheckpointUnsupported(str(folder / "config.json"), why)
    raise CheckpointUnsupported(str(folder), f"no task here serves {architecture}")


def _refuse_other_cross_encoders(folder: Path, architecture: str) -> None:
    """Raise CheckpointUnsupported for a CrossEncoder of several modules, or of another model than a classifier."""
    modules, described = folder / "modules.json", folder / LIBRARY_CONFIG
    if not modules.is_file() or not described.is_file():
        return
    if _read(described, missing_ok=False).get("model_type") != "CrossEncoder":
        return
    with refusing_damage(modules):
        names = [module["type"].rpartition(".")[2] for module in json.loads(modules.read_text(encoding="utf-8"))]
    if len(names) != 1 or not architecture.endswith("ForSequenceClassification"):
        why = (
            f"a CrossEncoder of {architecture or 'a model without an architecture'} with the modules {', '.join(names)}"
        )
        raise CheckpointUnsupported(str(folder), f"{why}; served is only a ForSequenceClassification model alone")


def _by_outputs(folder: Path) -> Head:
    outputs = outputs_of(folder)
    if outputs.problem_type == "multi_label_classification":
        why = f"its config.json says problem_type {outputs.problem_type}, with {outputs}; multi-label is not served"
        raise CheckpointUnsupported(str(folder), why)
    if len(outputs.labels) == 1:
        return CROSS_ENCODER
    if len(outputs.labels) != 2:
        raise CheckpointUnsupported(str(folder), f"a classification head of {outputs}; only one or two are served")
    if outputs.problem_type == "regression":
        raise CheckpointUnsupported(str(folder), f"a regression head of {outputs}; only one is served")
    return CLASSIFIER


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
