"""The models with a head that can be made of a base model, without its weights, and how many outputs these have."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from pipelines.checkpoints.prefixes import Architecture
from pipelines.errors import CheckpointUnsupported
from pipelines.format.kinds import CLASSIFIER, EXTRACTOR, Head
from pipelines.format.loading import refusing_damage
from pipelines.format.outputs import outputs_of

SPAN_HEAD = "qa_outputs."
"""How the names of a head for question answering begin; ModernBERT's has another name."""
SPAN_OUTPUTS = 2
TWO_NEEDED = "question answering needs two outputs, for the start and the end of an answer"


def architectures(base: Path) -> list[Architecture]:
    """The models with a head that can be made of the base model: question answering and sequence classification.

    Only names and shapes are made, no numbers. Raises CheckpointDamaged, and CheckpointUnsupported if there is none.
    """
    with refusing_damage(base):
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        made = [architecture(head, base) for head in (EXTRACTOR, CLASSIFIER) if _has(head, config)]
    if not made:
        raise CheckpointUnsupported(str(base), f"transformers has no head for {type(config).__name__} that is served")
    return made


def _has(head: Head, config: Any) -> bool:
    return type(config) in head.auto_class._model_mapping.keys()  # noqa: SIM118  not a mapping


def architecture(head: Head, base: Path) -> Architecture:
    """The model of this kind that can be made of the base model. Raises errors of transformers."""
    two = empty_model(head, base, 2)
    shapes = two.state_dict()
    outputs = {name for name in shapes if name.startswith(SPAN_HEAD)}
    with suppress(ValueError):  # DistilBERT's head for question answering can only have two outputs
        three = empty_model(head, base, 3).state_dict()
        outputs |= {name for name, value in three.items() if value.shape != shapes[name].shape}
    return Architecture(head, type(two).__name__, frozenset(shapes), frozenset(outputs))


def empty_model(head: Head, base: Path, outputs: int | None = None) -> Any:
    """A model of this kind without numbers; None: with as many outputs as the config of `base` says."""
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    if outputs is not None:
        config.num_labels = outputs
    with torch.device("meta"):
        return head.auto_class.from_config(config)


def refuse_other_spans(folder: Path) -> None:
    """Raise CheckpointUnsupported if config.json makes a model for question answering with more or fewer outputs.

    Decoders and BART have two outputs, whatever config.json says.
    """
    outputs = outputs_of(folder)
    if len(outputs.labels) == SPAN_OUTPUTS:
        return
    with refusing_damage(folder):
        names = architecture(EXTRACTOR, folder).outputs
    try:
        shapes = empty_model(EXTRACTOR, folder).state_dict()
        other = max((name for name in names if shapes[name].shape[0] != SPAN_OUTPUTS), default=None)
    except ValueError:
        other = max(names)
    if other is not None:
        why = f"gives {other} {outputs}; {TWO_NEEDED}; if the weights have two, set num_labels to 2"
        raise CheckpointUnsupported(str(folder / "config.json"), f"{why} and delete id2label and label2id")
