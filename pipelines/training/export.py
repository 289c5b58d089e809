"""From the weights of a run's best epoch to a checkpoint that is served by naming its folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.checkpoints import golden
from pipelines.checkpoints.finish import REFERENCE, quantize_if_as_good
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.quality import Examples
from pipelines.format.manifest import Manifest, Task, Training, write_manifest
from pipelines.format.weights import Weights
from pipelines.format.windows import WindowSettings
from pipelines.training.base import Base
from pipelines.training.curves import draw
from pipelines.training.learner import Figures, Learner
from pipelines.training.results import History, table

CURVES = "curves.png"
CARD = "README.md"
THRESHOLD = "threshold"  # the figure, where a task fits one
TASKS: dict[Task, str] = {"sts": "STS", "cola": "CoLA", "qa": "QA"}


@dataclass(frozen=True)
class Story:
    """How a checkpoint came to be, for its manifest and card."""

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
        """The decision threshold that was fitted after the epoch that was kept; None: the kind's own will do."""
        return self.history.epochs[self.best].get(THRESHOLD)

    @property
    def figures(self) -> Figures:
        """Those of the epoch that was kept."""
        return {name: round(value, 4) for name, value in self.history.epochs[self.best].items()}


def export(
    learner: Learner[Any],
    story: Story,
    folder: Path,
    texts: Mapping[str, str],
    int8: tuple[Examples, Examples],
    pictures: Mapping[str, Callable[[Path], None]] | None = None,
    weights: Weights | None = None,
) -> Manifest:
    """Write the learner's model to `folder`, which must not exist, with manifest, card, curves, and `texts` and
    `pictures` by name; its weights are rounded to `weights` where those are named.

    An int8 graph is calibrated on the first of the `int8` examples and measured on the second; where it loses too much,
    the log says so and there is none. The folder appears whole or not at all. Raises as `import_checkpoint`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=folder.parent) as scratch:
        learner.save(Path(scratch) / "saved")
        made = Path(scratch) / "made"
        manifest = import_checkpoint(
            str(Path(scratch) / "saved"), made, task=story.task, windows=story.windows, weights=weights
        )
        draw(made / CURVES, {story.base.name: story.history})
        if story.threshold is not None:
            manifest = _decide(made, manifest, story.threshold)
        manifest = quantize_if_as_good(made, manifest, *int8)
        for name, text in texts.items():
            (made / name).write_text(text, encoding="utf-8")
        for name, paint in (pictures or {}).items():
            paint(made / name)
        described = manifest.model_copy(
            update={
                "name": f"{story.base.name}, fine-tuned for {TASKS[story.task]}",
                "base_model": story.base.name,
                "revision": story.base.revision,
                "training": story.training,
                "scores": {name: value for name, value in story.figures.items() if name != THRESHOLD},
            }
        )
        (made / CARD).write_text(card(described, story), encoding="utf-8")
        complete = write_manifest(made, described)
        made.rename(folder)
    return complete


def _decide(folder: Path, manifest: Manifest, threshold: float) -> Manifest:
    """The manifest with another decision threshold, and what the golden inputs give with it."""
    decided = manifest.model_copy(update={"threshold": threshold})
    model = load_model(folder, decided, REFERENCE)
    return decided.model_copy(update={"golden": golden.record(folder, decided, model)})


def card(manifest: Manifest, story: Story) -> str:
    """The checkpoint's README.md."""
    commit = f" at commit `{story.base.revision}`" if story.base.revision else ""
    facts = {
        "Base model": f"`{story.base.name}`{commit}",
        "Trained on": "; ".join(story.training.data),
        "Measured on": story.dev,
        "Seed": story.training.seed,
        "Epoch kept": f"{story.best + 1} of {len(story.history.epochs)}",
        "Settings": ", ".join(f"{name} {value}" for name, value in story.settings.items()),
        "Command": f"`{story.training.command}` ({story.training.minutes:g} minutes)",
    }
    epochs = [[str(number), *map(_cell, figures.values())] for number, figures in enumerate(story.history.epochs, 1)]
    return "\n".join(
        [
            f"# {manifest.name}\n",
            table([["", ""], *([name, str(fact)] for name, fact in facts.items())]),
            "\n## Figures on the dev rows, by epoch\n",
            table([["epoch", *story.figures], *epochs]),
            f"\n![Curves]({CURVES})\n",
            f"Serve it: `make serve {story.task.upper()}=path/to/this/folder`.\n",
        ]
    )


def _cell(value: float) -> str:
    return f"{value:.4f}"
