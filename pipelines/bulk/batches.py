"""Run the items of many rows in batches of the size at which engines are fastest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.model_stage import Outcome, finite
from pipelines.errors import EngineError, MunjangError, StageFailed
from pipelines.text.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class Sizes:
    """tokens: most padded tokens of a batch; rows: number of rows that are sorted by length and scored together."""

    tokens: int
    rows: int


ON_CPU = Sizes(tokens=512, rows=512)  # larger batches leave the caches of a core: see benchmarks/LOG.md
ON_GPU = Sizes(tokens=65_536, rows=8192)  # the server's limit; not measured on a GPU yet
MOST_FAILURES = 32  # items that fail one after the other: then the engine is at fault, not the items

Items = NDArray[np.int64]
Result = NDArray[Any] | MunjangError


class BatchedModel:
    """A model stage that runs items of similar length together, at most `budget` padded tokens in a batch.

    If a batch fails, its halves run again, and so on, so that only the item at fault fails, with its own error. A row
    that is not finite is a failure. Raises StageFailed if `MOST_FAILURES` items fail one after the other.
    """

    def __init__(self, run: Callable[[TokenBatch], NDArray[Any]], budget: int) -> None:
        self._run = run
        self._budget = budget
        self._failures = 0

    async def __call__(self, batch: TokenBatch) -> Outcome:
        """The rows and errors of all items."""
        rows: NDArray[Any] | None = None
        errors: dict[int, MunjangError] = {}
        for chosen in batch.by_length(self._budget):
            for items, result in self._attempt(batch, chosen):
                if isinstance(result, MunjangError):
                    errors[int(items[0])] = result
                    continue
                if rows is None:
                    rows = np.empty((len(batch), *result.shape[1:]), dtype=result.dtype)
                rows[items] = result
        if rows is None:
            return Outcome(np.array([]), errors)
        return Outcome(np.delete(rows, list(errors), axis=0) if errors else rows, errors)

    def _attempt(self, batch: TokenBatch, items: Items) -> Iterator[tuple[Items, Result]]:
        """Run these items, in halves if need be; yields the rows of several items, or the error of one."""
        try:
            rows = self._rows(batch.select(items))
        except Exception as error:  # engines may raise anything
            if len(items) > 1:
                half = len(items) // 2
                yield from self._attempt(batch, items[:half])
                yield from self._attempt(batch, items[half:])
            else:
                yield items, self._failure(error)
        else:
            self._failures = 0
            yield items, rows

    def _failure(self, error: Exception) -> MunjangError:
        cause = error if isinstance(error, MunjangError) else EngineError(type(error).__name__)
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise StageFailed("the model", ", ".join(map(str, cause.args))) from error
        return cause

    def _rows(self, batch: TokenBatch) -> NDArray[Any]:
        rows = self._run(batch)
        if len(rows) != len(batch):
            raise EngineError("wrong number of rows")
        if not finite(rows).all():
            raise EngineError("a result that is not finite")
        return rows
