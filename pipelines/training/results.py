"""The results of runs and of trials: figures by epoch, their comparison, tables and pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log10
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Self

from pipelines.training.learner import Figures, comparable


@dataclass
class History:
    """What a run has measured so far.

    losses   the loss of every step, on its batch
    epochs   the figures on the dev rows after each epoch
    seconds  the duration of each epoch, training and measuring
    steps    the number of steps of each epoch
    """

    losses: list[float] = field(default_factory=list)
    epochs: list[Figures] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def best(self, sort_key: Callable[[Figures], tuple[float, ...]]) -> int:
        """The number of the best epoch, from 0; the first of equal ones. There must be at least one epoch."""
        return max(range(len(self.epochs)), key=lambda epoch: (comparable(sort_key(self.epochs[epoch])), -epoch))

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain lists and dicts."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        return cls(**fields)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; the first row is its header."""
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


SortKey = Callable[[Figures], tuple[float, ...]]


@dataclass(frozen=True)
class RunHistory:
    """The history of a run of a model with one seed; `model` is the name that the user gave it."""

    model: str
    seed: int
    history: History


def better(one: RunHistory, other: RunHistory | None, sort_key: SortKey) -> bool:
    """Whether the best epoch of `one` is better than that of `other`; True if there is no `other`."""
    return other is None or _best_key(one.history, sort_key) > _best_key(other.history, sort_key)


def compare(entries: Sequence[RunHistory], figure: str) -> str:
    """A Markdown table of a figure, with one row per model and one column per epoch.

    A cell holds the mean over the seeds and, with several seeds, the standard deviation. Runs that stopped early do not
    contribute to later columns.
    """
    models = list(dict.fromkeys(entry.model for entry in entries))
    epochs = max(len(entry.history.epochs) for entry in entries)
    rows = [[model, *(_cell(entries, model, epoch, figure) for epoch in range(epochs))] for model in models]
    return table([[figure, *(f"epoch {epoch + 1}" for epoch in range(epochs))], *rows])


def _best_key(history: History, sort_key: SortKey) -> tuple[float, ...]:
    return comparable(sort_key(history.epochs[history.best(sort_key)]))


def _cell(entries: Sequence[RunHistory], model: str, epoch: int, figure: str) -> str:
    histories = [entry.history for entry in entries if entry.model == model]
    values = [history.epochs[epoch][figure] for history in histories if epoch < len(history.epochs)]
    if not values:
        return ""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{deviation}"


Config = Mapping[str, Any]
"""The values that the search chose for a trial, by the name of the setting."""


@dataclass(frozen=True)
class Trial:
    """A run of a search: its number, from 1, the chosen settings, and its history without losses."""

    number: int
    config: Config
    history: History

    @property
    def stopped(self) -> bool:
        """Whether the trial was stopped early."""
        return len(self.history.epochs) < int(self.config["epochs"])

    def best_key(self, sort_key: SortKey) -> tuple[float, ...]:
        """The sort key of its best epoch."""
        return comparable(sort_key(self.history.epochs[self.history.best(sort_key)]))

    def best(self, figure: str, sort_key: SortKey) -> float:
        """The figure after its best epoch."""
        return self.history.epochs[self.history.best(sort_key)][figure]


def winner(trials: Sequence[Trial], sort_key: SortKey) -> Trial:
    """The trial with the best epoch; the first of equal ones. There must be at least one trial."""
    return max(trials, key=lambda trial: (trial.best_key(sort_key), -trial.number))


def describe(config: Config) -> str:
    """The chosen settings in one line of text."""
    return ", ".join(f"{name} {_trial_cell(value)}" for name, value in config.items())


def tabulate(trials: Sequence[Trial], sort_key: SortKey) -> str:
    """A Markdown table, the best trial first: the settings, the epochs done, and the figures after the best epoch."""
    figures, settings = list(trials[0].history.epochs[0]), list(trials[0].config)
    rows = [
        [
            str(trial.number),
            *(_trial_cell(trial.config[name]) for name in settings),
            f"{len(trial.history.epochs)}{', stopped' if trial.stopped else ''}",
            *(f"{trial.best(name, sort_key):.4f}" for name in figures),
        ]
        for trial in sorted(trials, key=lambda trial: (trial.best_key(sort_key), -trial.number), reverse=True)
    ]
    return table([["trial", *settings, "epochs done", *figures], *rows])


def draw_trials(path: Path, trials: Sequence[Trial], figure: str, sort_key: SortKey) -> None:
    """Draw the figure of each trial with the best so far, and the figure against each setting that differs.

    Hollow points are trials that were stopped early.
    """
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    names = [name for name in trials[0].config if len({str(trial.config[name]) for trial in trials}) > 1]
    picture = Figure(figsize=(4 * (len(names) + 1), 3.6), layout="constrained")
    first, *panels = picture.subplots(1, len(names) + 1, squeeze=False, sharey=True)[0]
    values = [trial.best(figure, sort_key) for trial in trials]
    _scatter(first, [trial.number for trial in trials], values, trials)
    first.step([trial.number for trial in trials], _running_maximum(values), where="post", label="best so far")
    first.set(xlabel="trial", ylabel=figure)
    first.xaxis.get_major_locator().set_params(integer=True)
    first.legend(fontsize="small")
    for panel, name in zip(panels, names, strict=True):
        _scatter(panel, _axis(panel, name, [trial.config[name] for trial in trials]), values, trials)
    picture.savefig(path, dpi=120)


def _scatter(panel: Any, places: Sequence[Any], values: Sequence[float], trials: Sequence[Trial]) -> None:
    panel.scatter(places, values, facecolors=["none" if trial.stopped else "C0" for trial in trials], edgecolors="C0")


def _axis(panel: Any, name: str, values: Sequence[Any]) -> list[float]:
    """Set up the horizontal axis of a panel and return the positions of the values on it.

    Floats are placed by their logarithm, other values in sorted order. A logarithmic axis gets three ticks, since the
    labels of matplotlib's own ticks would overlap.
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


def _running_maximum(values: Sequence[float]) -> list[float]:
    return [max(values[: number + 1]) for number in range(len(values))]


def _trial_cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
