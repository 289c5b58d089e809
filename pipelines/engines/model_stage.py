"""The two stages of every task, as its pipeline sees them: awaitable callables that take and return whole batches.

In the graph they are calls to deployments; in tests, offline runs and golden checks they are plain objects.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.engine import Engine
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Model(Protocol):
    """What a task's model must do, on the threads that its engine has slots for."""

    engine: Engine

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        """One row per item, in the items' order. May raise anything: the batcher finds out whose fault it was."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a batch's items.

    rows    (items without error, ...) results in the items' order
    errors  by item
    """

    rows: NDArray[Any]
    errors: dict[int, MunjangError] = field(default_factory=dict)

    def error_of(self, items: NDArray[np.integer[Any]] | slice) -> MunjangError | None:
        """The first error among the given items."""
        if not self.errors:
            return None
        chosen = np.arange(len(self.rows) + len(self.errors))[items]
        return next((self.errors[item] for item in chosen.tolist() if item in self.errors), None)

    def full_rows(self, template: NDArray[Any] | None = None) -> NDArray[Any]:
        """(items, ...): `rows`, with zeros where an item failed.

        Where all of them did, no row says what one looks like; then `template` (0, ...) does.
        """
        if not self.errors:
            return self.rows
        rows = self.rows if len(self.rows) or template is None else template
        good = np.array([i not in self.errors for i in range(len(rows) + len(self.errors))])
        full = np.zeros((len(good), *rows.shape[1:]), dtype=rows.dtype)
        full[good] = rows
        return full


ModelStage = Callable[[TokenBatch], Awaitable[Outcome]]


def in_process(function: Callable[Params, Result]) -> Callable[Params, Awaitable[Result]]:
    """A plain function as a stage."""

    async def stage(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return function(*args, **kwargs)

    return stage


def in_process_model(model: Model) -> ModelStage:
    """A model as a stage, without batching."""

    async def stage(batch: TokenBatch) -> Outcome:
        return Outcome(model.run(batch))

    return stage
