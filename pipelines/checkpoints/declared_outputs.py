"""The manifest's fields about a model's outputs: which one means "acceptable", and the scale of scores."""

import logging
import math
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointUnsupported
from pipelines.format.activations import SCALES, activation_of
from pipelines.format.kinds import CLASSIFIER, CROSS_ENCODER, Head
from pipelines.format.manifest import Kind, Manifest, Scale
from pipelines.format.outputs import outputs_of, positive_output

logger = logging.getLogger(__name__)


def declared_outputs(head: Head, folder: Path, positive_label: str | None, scale: Scale | None) -> dict[str, Any]:
    """The fields for the model in a folder. `import_checkpoint` explains `positive_label` and `scale`.

    Raises CheckpointUnsupported if the files do not say what the outputs mean, or if an argument does not fit the
    kind of model.
    """
    _refuse_for_other_kinds(folder, head.kind, positive_label, scale)
    if head is CLASSIFIER:
        return {"positive_output": _logged_output(folder, positive_label)}
    return _scaled(folder, scale) if head is CROSS_ENCODER else {}


def refuse_other_outputs(folder: Path, manifest: Manifest, positive_label: str | None, scale: Scale | None) -> None:
    """Raise CheckpointUnsupported if a checkpoint in the project's format declares other outputs than the arguments."""
    _refuse_for_other_kinds(folder, manifest.kind, positive_label, scale)
    if positive_label is not None and positive_output(folder, positive_label) != manifest.positive_output:
        label = outputs_of(folder).labels[manifest.positive_output]
        why = f"with another positive output ({manifest.positive_output}, label {label})"
        raise CheckpointUnsupported(str(folder), f"already in the project's format, {why}; import its source again")
    if scale not in (None, manifest.scale):
        low, high = manifest.scale or SCALES["identity"]
        why = f"with another scale ({low:g} to {high:g})"
        raise CheckpointUnsupported(str(folder), f"already in the project's format, {why}; import its source again")


def _refuse_for_other_kinds(folder: Path, kind: Kind, positive_label: str | None, scale: Scale | None) -> None:
    if positive_label is not None and kind != CLASSIFIER.kind:
        raise CheckpointUnsupported(str(folder), f"--positive-label is for classifiers, but this is a {kind}")
    if scale is not None and kind != CROSS_ENCODER.kind:
        raise CheckpointUnsupported(str(folder), f"--scale is for cross-encoders, but this is a {kind}")


def _logged_output(folder: Path, positive_label: str | None) -> int:
    index = positive_output(folder, positive_label)
    logger.info("output %s (label %s) means 'acceptable'", index, outputs_of(folder).labels[index])
    return index


def _scaled(folder: Path, scale: Scale | None) -> dict[str, Any]:
    activation = activation_of(folder)
    low, high = SCALES[activation] if scale is None else scale
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise CheckpointUnsupported(str(folder), f"--scale {low:g} {high:g}: give two numbers, the lower one first")
    assumed = "; this scale is assumed: if it is another, give that with --scale LOW HIGH"
    logger.info(
        "the activation function is %s; predictions from %g to %g become scores from 0 to 5%s",
        activation,
        low,
        high,
        assumed if activation == "identity" and scale is None else "",
    )
    return {"activation": activation, "scale": (low, high)}
