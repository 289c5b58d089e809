"""What a task brings to training."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

Row = TypeVar("Row", contravariant=True)
Figures = dict[str, float]


class Learner(Protocol[Row]):
    """A model with its tokenizer, and how it learns from a task's rows."""

    model: nn.Module

    def loss(self, model: nn.Module, rows: Sequence[Any]) -> Tensor:
        """The mean loss over the rows, or over what the learner `Unfolds` them to, as a differentiable scalar.

        There is at least one. `model` is `self.model`, or what wraps it where several workers train: only calls to it
        are synchronised.
        """

    def length(self, row: Any) -> int:
        """How long one of the rows that `loss` takes is, in any unit: those of like length are put together."""

    def predict(self, rows: Sequence[Row]) -> list[Any]:
        """One picklable prediction per row, in order; asked for without gradients."""

    def measure(self, rows: Sequence[Row], predictions: Sequence[Any]) -> Figures:
        """The figures of all predictions together, among them `loss`."""

    def sort_key(self, figures: Figures) -> tuple[float, ...]:
        """What epochs and models are compared by: the highest wins."""

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to `folder`, in a form that `import_checkpoint` takes."""


@runtime_checkable
class Unfolds(Protocol[Row]):
    """A learner of which one row to train on is several things to learn, each to count as one in batches."""

    def unfold(self, rows: Sequence[Row]) -> Sequence[Any]:
        """What `loss` takes in the rows' place; the same in every process and every attempt."""


@runtime_checkable
class Prepares(Protocol[Row]):
    """A learner that changes its model before the first step."""

    def prepare(self, rows: Sequence[Row]) -> None:
        """Given all rows of the first stage; does the same in every process and every attempt."""


def unfold(learner: Learner[Row], rows: Sequence[Row]) -> Sequence[Any]:
    """What there is to learn of the rows: the rows themselves, if the learner has nothing else to say."""
    return learner.unfold(rows) if isinstance(learner, Unfolds) else rows


Load = Callable[[], Learner[Row]]
"""Makes a learner, where it is called: it travels to the workers by pickle, and what it loads does not."""


def comparable(key: tuple[float, ...]) -> tuple[float, ...]:
    """The key with every part that is no number last: a diverged epoch never wins."""
    return tuple(-math.inf if math.isnan(part) else part for part in key)
