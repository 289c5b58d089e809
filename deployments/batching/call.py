"""A batch that a caller has submitted to the batcher, until all of its items have results."""

import asyncio
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployments.batching.queue import Items
from deployments.tracing.spans import current
from pipelines.engines.model_stage import NO_WORK, Outcome, Work
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch


class Ran(NamedTuple):
    """A batch that has run: the monotonic time at which it began, its seconds, items, and share of padding."""

    began_s: float
    seconds: float
    items: int
    padding: float


class Call:
    """One submitted batch and the results of its items so far. Only its event loop uses it."""

    def __init__(self, batch: TokenBatch) -> None:
        self.batch = batch
        self.submitted_s = time.monotonic()
        self.traceparent = current()
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._rows: NDArray[Any] | None = None
        self._errors: dict[int, MunjangError] = {}
        self._ran: list[tuple[int, Ran]] = []
        self._left = len(batch)

    def succeed(self, items: Items, rows: NDArray[Any], ran: Ran) -> None:
        """Record the rows of these items, and the batch that computed them."""
        if self._rows is None:
            self._rows = np.empty((len(self.batch), *rows.shape[1:]), dtype=rows.dtype)
        self._rows[items] = rows
        self._ran.append((len(items), ran))
        self._settle(len(items))

    def fail(self, items: Items, error: MunjangError) -> None:
        """Record the error of these items."""
        self._errors.update(dict.fromkeys(items.tolist(), error))
        self._settle(len(items))

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left == 0 and not self.outcome.done():
            self.outcome.set_result(Outcome(self._good_rows(), self._errors, self._work()))

    def _work(self) -> Work:
        """The means over all items that have rows."""
        if not self._ran:
            return NO_WORK
        items = sum(count for count, _ in self._ran)
        waited_s = sum(count * (ran.began_s - self.submitted_s) for count, ran in self._ran) / items
        ran_s = sum(count * ran.seconds for count, ran in self._ran) / items
        batch_items = sum(count * ran.items for count, ran in self._ran) / items
        return Work(waited_s, ran_s, batch_items, sum(count * ran.padding for count, ran in self._ran) / items)

    def _good_rows(self) -> NDArray[Any]:
        if self._rows is None:
            return np.array([])
        return np.delete(self._rows, list(self._errors), axis=0) if self._errors else self._rows
