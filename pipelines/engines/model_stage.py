"""The stages of a pipeline, tokenizer and model: awaitable callables that take and return whole batches.

In the server they call deployments; in tests, offline runs and golden checks they call objects of this process.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.engine import Engine
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch

Params = ParamSpec("Params")
Result = TypeVar("Result")

PART_TOKENS = 4096  # the windows of 32 questions, run at once, took 5 GB of memory


class Model(Protocol):
    """The interface of a task's model. At most `engine.slots` threads call it at once."""

    engine: Engine

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        """One row per item, in order. May raise any exception; the batcher finds out which item caused it."""


class Work(NamedTuple):
    """How a server computed the items of a call: means over those that were not in its cache.

    waited_s     seconds that an item waited in the replica until its batch began
    ran_s        seconds that its batch ran
    batch_items  items in its batch, those of other calls among them
    padding      share of padding in the tokens of its batch, 0 to 1
    """

    waited_s: float = 0.0
    ran_s: float = 0.0
    batch_items: float = 0.0
    padding: float = 0.0


class Place(NamedTuple):
    """Where a call was computed: the id of the replica, the name of its engine, and the digest of its checkpoint."""

    replica: str
    engine: str
    checkpoint: str


NO_WORK = Work()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The results and errors of a batch's items.

    rows    (items without error, ...): results in the items' order
    errors  errors by item index
    work    how the items were computed; zeros outside of a server, or if all of them were in a cache
    place   where they were computed; None outside of a server
    """

    rows: NDArray[Any]
    errors: dict[int, MunjangError] = field(default_factory=dict)
    work: Work = NO_WORK
    place: Place | None = None

    def error_of(self, items: NDArray[np.integer[Any]] | slice) -> MunjangError | None:
        """The first error among the given items."""
        if not self.errors:
            return None
        chosen = np.arange(len(self.rows) + len(self.errors))[items]
        return next((self.errors[item] for item in chosen.tolist() if item in self.errors), None)

    def full_rows(self, template: NDArray[Any] | None = None) -> NDArray[Any]:
        """(items, ...): `rows`, with zeros for the items that failed.

        If all items failed, the shape and dtype of a row are those of `template` (0, ...).
        """
        if not self.errors:
            return self.rows
        rows = self.rows if len(self.rows) or template is None else template
        good = np.array([i not in self.errors for i in range(len(rows) + len(self.errors))])
        full = np.zeros((len(good), *rows.shape[1:]), dtype=rows.dtype)
        full[good] = rows
        return full


def finite(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each of a model's rows (items, ...) is a result (items,): whether its numbers are finite.

    Of a row of spans, only the score of the first, the null span, has to be: spans that a window lacks have -inf.
    """
    values = rows if rows.dtype.names is None else rows["score"][:, :1]
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


ModelStage = Callable[[TokenBatch], Awaitable[Outcome]]


def in_process(function: Callable[Params, Result]) -> Callable[Params, Awaitable[Result]]:
    """Turn a plain function into a stage."""

    async def stage(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return function(*args, **kwargs)

    return stage


def in_process_model(model: Model) -> ModelStage:
    """Turn a model into a stage without dynamic batching, which runs items of similar length together."""

    async def stage(batch: TokenBatch) -> Outcome:
        return Outcome(_run_in_parts(model, batch))

    return stage


def _run_in_parts(model: Model, batch: TokenBatch) -> NDArray[Any]:
    """The model's rows for a batch of any size, of which it runs at most `PART_TOKENS` padded tokens at a time."""
    parts = list(batch.by_length(PART_TOKENS))
    if len(parts) <= 1:
        return model.run(batch)
    rows = np.concatenate([model.run(batch.select(items)) for items in parts])
    return rows[np.argsort(np.concatenate(parts))]
