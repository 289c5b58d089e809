"""Exports the weights of the best epoch of a run as a checkpoint that can be served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.checkpoints import golden
from pipelines.checkpoints.finish import quantize_if_as_good
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.tasks.definition import Examples
from pipelines.engines.choice import REFERENCE
from pipelines.format.manifest import Manifest, Task, Training, write_manifest
from pipelines.format.weights import Weights
from pipelines.format.windows import WindowSettings
from pipelines.training.base import Base
from pipelines.training.curves import draw
from pipelines.training.learner import Figures, Learner
from pipelines.training.results import History, table

CURVES = "curves.png"
CARD = "README.md"
THRESHOLD = "threshold"  # the name of the figure, for tasks that fit a threshold
TASKS: dict[Task, str] = {"sts": "STS", "cola": "CoLA", "qa": "QA"}


@dataclass(frozen=True)
class Provenance:
    """How a checkpoint was trained, for its manifest and its card (README.md).

    dev   the name of the dev data
    best  the number of the exported epoch, from 0
    """

    task: Task
    base: Base
    training: Training
    settings: dict[str, object]
    dev: str
    history: History
    best: int
    windows: WindowSettings | None = None

    @property
    def threshold(self) -> float | None:
        """The decision threshold fitted after the exported epoch; None: the default threshold of the kind of model."""
        return self.history.epochs[self.best].get(THRESHOLD)

    @property
    def figures(self) -> Figures:
        """The figures after the exported epoch, rounded to four digits."""
        return {name: round(value, 4) for name, value in self.history.epochs[self.best].items()}


def export(
    learner: Learner[Any],
    provenance: Provenance,
    folder: Path,
    texts: Mapping[str, str],
    int8: tuple[Examples, Examples],
    pictures: Mapping[str, Callable[[Path], None]] | None = None,
    weights: Weights | None = None,
) -> Manifest:
    """Write the learner's model to `folder`, which must not exist, with its manifest, card and curves.

    texts     further text files, by name
    int8      the examples that the int8 graph is calibrated on, and those that it is measured on
    pictures  further pictures: functions that write one to a path, by name
    weights   the type that the weights are rounded to; None: float32

    If the int8 graph loses too much quality, it is left out and the log says so. The folder appears complete or not
    at all. Raises as `import_checkpoint`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=folder.parent) as scratch:
        learner.save(Path(scratch) / "saved")
        made = Path(scratch) / "made"
        manifest = import_checkpoint(
            str(Path(scratch) / "saved"), made, task=provenance.task, windows=provenance.windows, weights=weights
        )
        draw(made / CURVES, {provenance.base.name: provenance.history})
        if provenance.threshold is not None:
            manifest = _with_threshold(made, manifest, provenance.threshold)
        manifest = quantize_if_as_good(made, manifest, *int8)
        for name, text in texts.items():
            (made / name).write_text(text, encoding="utf-8")
        for name, paint in (pictures or {}).items():
            paint(made / name)
        described = manifest.model_copy(
            update={
                "name": f"{provenance.base.name}, fine-tuned for {TASKS[provenance.task]}",
                "base_model": provenance.base.name,
                "revision": provenance.base.revision,
                "training": provenance.training,
                "scores": {name: value for name, value in provenance.figures.items() if name != THRESHOLD},
            }
        )
        (made / CARD).write_text(card(described, provenance), encoding="utf-8")
        complete = write_manifest(made, described)
        made.rename(folder)
    return complete


def _with_threshold(folder: Path, manifest: Manifest, threshold: float) -> Manifest:
    """Replace the decision threshold of a manifest, and the golden outputs, which depend on it."""
    decided = manifest.model_copy(update={"threshold": threshold})
    model = load_model(folder, decided, REFERENCE)
    return decided.model_copy(update={"golden": golden.record(folder, decided, model)})


def card(manifest: Manifest, provenance: Provenance) -> str:
    """The checkpoint's README.md."""
    commit = f" at commit `{provenance.base.revision}`" if provenance.base.revision else ""
    facts = {
        "Base model": f"`{provenance.base.name}`{commit}",
        "Trained on": "; ".join(provenance.training.data),
        "Measured on": provenance.dev,
        "Seed": provenance.training.seed,
        "Epoch kept": f"{provenance.best + 1} of {len(provenance.history.epochs)}",
        "Settings": ", ".join(f"{name} {value}" for name, value in provenance.settings.items()),
        "Command": f"`{provenance.training.command}` ({provenance.training.minutes:g} minutes)",
    }
    epochs = [
        [str(number), *map(_cell, figures.values())] for number, figures in enumerate(provenance.history.epochs, 1)
    ]
    return "\n".join(
        [
            f"# {manifest.name}\n",
            table([["", ""], *([name, str(fact)] for name, fact in facts.items())]),
            "\n## Figures on the dev rows, by epoch\n",
            table([["epoch", *provenance.figures], *epochs]),
            f"\n![Curves]({CURVES})\n",
            f"Serve it: `make serve {provenance.task.upper()}=path/to/this/folder`.\n",
        ]
    )


def _cell(value: float) -> str:
    return f"{value:.4f}"
