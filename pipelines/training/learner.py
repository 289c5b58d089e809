"""The interface between the training loop and a task's model."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

Row = TypeVar("Row", contravariant=True)
Figures = dict[str, float]


class Learner(Protocol[Row]):
    """A model with its tokenizer, its loss and its figures for the rows of a task."""

    model: nn.Module

    def loss(self, model: nn.Module, rows: Sequence[Any]) -> Tensor:
        """The mean loss over at least one row, as a differentiable scalar.

        If the learner `Unfolds` rows, `rows` are the unfolded ones. `model` is `self.model`, or its wrapper if several
        workers train; forward passes must go through it, since only its gradients are synchronized.
        """

    def length(self, row: Any) -> int:
        """The length, in any unit, of a row that `loss` takes; rows of similar length are batched together."""

    def predict(self, rows: Sequence[Row]) -> list[Any]:
        """One picklable prediction per row, in order; called without gradients."""

    def measure(self, rows: Sequence[Row], predictions: Sequence[Any]) -> Figures:
        """The figures over all predictions; one of them is `loss`."""

    def sort_key(self, figures: Figures) -> tuple[float, ...]:
        """The key by which epochs and models are compared; the highest is the best."""

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to `folder`, in a format that `import_checkpoint` reads."""


@runtime_checkable
class Unfolds(Protocol[Row]):
    """A learner that turns a training row into any number of rows, such as windows, which are batched separately."""

    def unfold(self, rows: Sequence[Row]) -> Sequence[Any]:
        """The rows that `loss` takes instead. The result must be the same in every process and every attempt."""


@runtime_checkable
class Prepares(Protocol[Row]):
    """A learner that changes its model before the first step."""

    def prepare(self, rows: Sequence[Row]) -> None:
        """Change the model, given all rows of the first stage, in the same way in every process and every attempt."""


def unfold(learner: Learner[Row], rows: Sequence[Row]) -> Sequence[Any]:
    """The rows that the learner's `loss` takes: unfolded if the learner `Unfolds`, otherwise unchanged."""
    return learner.unfold(rows) if isinstance(learner, Unfolds) else rows


Load = Callable[[], Learner[Row]]
"""Makes a learner. Workers receive it by pickle and call it, so that the model itself is not pickled."""


def comparable(key: tuple[float, ...]) -> tuple[float, ...]:
    """The sort key with NaN replaced by -inf, so that a diverged epoch never is the best."""
    return tuple(-math.inf if math.isnan(part) else part for part in key)
