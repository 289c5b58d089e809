"""The trials of a search: which of them won, their table, and their picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

from pipelines.training.comparison import Key
from pipelines.training.history import History
from pipelines.training.learner import comparable
from pipelines.training.markdown import table

Config = Mapping[str, Any]
"""What the search chose for a trial, by the name of the setting."""


@dataclass(frozen=True)
class Trial:
    """A run of a search: its number from 1, what was chosen for it, and what came of it, save the losses."""

    number: int
    config: Config
    history: History

    @property
    def stopped(self) -> bool:
        """Whether it was stopped early."""
        return len(self.history.epochs) < int(self.config["epochs"])

    def height(self, key: Key) -> tuple[float, ...]:
        """What its best epoch is compared by."""
        return comparable(key(self.history.epochs[self.history.best(key)]))

    def best(self, figure: str, key: Key) -> float:
        """The figure after its best epoch."""
        return self.history.epochs[self.history.best(key)][figure]


def winner(trials: Sequence[Trial], key: Key) -> Trial:
    """The best by its best epoch, the first of equals. There must be one."""
    return max(trials, key=lambda trial: (trial.height(key), -trial.number))


def words(config: Config) -> str:
    """For people."""
    return ", ".join(f"{name} {_cell(value)}" for name, value in config.items())


def tabulate(trials: Sequence[Trial], key: Key) -> str:
    """A Markdown table, the best trial first: what was chosen, epochs done, and figures after the best of them."""
    figures, settings = list(trials[0].history.epochs[0]), list(trials[0].config)
    rows = [
        [
            str(trial.number),
            *(_cell(trial.config[name]) for name in settings),
            f"{len(trial.history.epochs)}{', stopped' if trial.stopped else ''}",
            *(f"{trial.best(name, key):.4f}" for name in figures),
        ]
        for trial in sorted(trials, key=lambda trial: (trial.height(key), -trial.number), reverse=True)
    ]
    return table([["trial", *settings, "epochs done", *figures], *rows])


def draw_trials(path: Path, trials: Sequence[Trial], figure: str, key: Key) -> None:
    """A picture: the figure by trial with the best so far, and against each thing that was chosen.

    Hollow points are trials that were stopped early.
    """
    from matplotlib.figure import Figure  # without pyplot, whose state would outlive this call

    names = [name for name in trials[0].config if len({str(trial.config[name]) for trial in trials}) > 1]
    picture = Figure(figsize=(4 * (len(names) + 1), 3.6), layout="constrained")
    first, *panels = picture.subplots(1, len(names) + 1, squeeze=False, sharey=True)[0]
    heights = [trial.best(figure, key) for trial in trials]
    _scatter(first, [trial.number for trial in trials], heights, trials)
    first.step([trial.number for trial in trials], _so_far(heights), where="post", label="best so far")
    first.set(xlabel="trial", ylabel=figure)
    first.xaxis.get_major_locator().set_params(integer=True)
    first.legend(fontsize="small")
    for panel, name in zip(panels, names, strict=True):
        _scatter(panel, _axis(panel, name, [trial.config[name] for trial in trials]), heights, trials)
    picture.savefig(path, dpi=120)


def _scatter(panel: Any, places: Sequence[Any], heights: Sequence[float], trials: Sequence[Trial]) -> None:
    panel.scatter(places, heights, facecolors=["none" if trial.stopped else "C0" for trial in trials], edgecolors="C0")


def _axis(panel: Any, name: str, values: Sequence[Any]) -> list[float]:
    """Makes the axis below the panel; returns where values stand on it: numbers by their logarithm, others in order.

    Three ticks are enough, and matplotlib's own would run into each other.
    """
    panel.set(xlabel=name)
    if isinstance(values[0], float):
        low, high = log10(min(values)), log10(max(values))
        ticks = [low, (low + high) / 2, high]
        panel.set_xticks(ticks, [f"{10**tick:.1e}" for tick in ticks])
        return [log10(value) for value in values]
    known = sorted(set(values))
    panel.set_xticks(
        range(len(known)), [str(value) for value in known], rotation="vertical" if name == "model" else None
    )
    return [float(known.index(value)) for value in values]


def _so_far(heights: Sequence[float]) -> list[float]:
    return [max(heights[: number + 1]) for number in range(len(heights))]


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
