"""Several runs side by side: which of them won, and the table of them all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pipelines.training.history import History
from pipelines.training.learner import Figures, comparable
from pipelines.training.markdown import table

Key = Callable[[Figures], tuple[float, ...]]


@dataclass(frozen=True)
class Entry:
    """A run of a model, by the name it was given, with one seed."""

    model: str
    seed: int
    history: History


def better(one: Entry, other: Entry | None, key: Key) -> bool:
    """Whether the best epoch of `one` is above that of `other`."""
    return other is None or _height(one.history, key) > _height(other.history, key)


def compare(entries: Sequence[Entry], figure: str) -> str:
    """A Markdown table with one row per model and one column per epoch: the figure's mean over the seeds.

    With several seeds its standard deviation stands beside it. Runs that stopped early have no later cells.
    """
    models = list(dict.fromkeys(entry.model for entry in entries))
    epochs = max(len(entry.history.epochs) for entry in entries)
    rows = [[model, *(_cell(entries, model, epoch, figure) for epoch in range(epochs))] for model in models]
    return table([[figure, *(f"epoch {epoch + 1}" for epoch in range(epochs))], *rows])


def _height(history: History, key: Key) -> tuple[float, ...]:
    return comparable(key(history.epochs[history.best(key)]))


def _cell(entries: Sequence[Entry], model: str, epoch: int, figure: str) -> str:
    histories = [entry.history for entry in entries if entry.model == model]
    values = [history.epochs[epoch][figure] for history in histories if epoch < len(history.epochs)]
    if not values:
        return ""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{deviation}"
