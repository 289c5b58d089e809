"""The batcher in a model replica: one queue, one model thread, batches formed only when the model is free."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.length_queue import Lane, LengthQueue, QueueItem
from pipelines.errors import EngineError, MunjangError
from pipelines.stages import Outcome
from pipelines.tokens import TokenBatch

Row = NDArray[Any]


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's batch, and what has become of its items so far."""

    batch: TokenBatch
    future: asyncio.Future[Outcome]
    rows: dict[int, Row] = field(default_factory=dict)
    errors: dict[int, MunjangError] = field(default_factory=dict)

    def settle(self) -> None:
        if len(self.rows) + len(self.errors) == len(self.batch) and not self.future.done():
            self.future.set_result(Outcome(np.array([self.rows[i] for i in sorted(self.rows)]), self.errors))


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    call: _Call
    index: int


class TokenBudgetBatcher:
    """Items of all callers in one queue; each batch runs alone on the model thread.

    run         takes a TokenBatch, returns one row per item, in order; runs on a thread of its own
    max_tokens  padded size of a batch, see `LengthQueue`
    max_age_s   how long an (interactive, bulk) item may be passed over

    An item whose batch fails is tried again in halves of it, so that only the item at fault fails, with its own error.
    """

    def __init__(
        self, run: Callable[[TokenBatch], NDArray[Any]], *, max_tokens: int, max_age_s: tuple[float, float]
    ) -> None:
        self._run = run
        self._queue = LengthQueue(max_tokens, max_age_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._drain: asyncio.Task[None] | None = None
        self._busy_since_s: float | None = None
        self.failures_in_a_row = 0
        self.tokens_done = 0
        self.seconds_busy = 0.0

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue, without padding and without the batch that runs."""
        return self._queue.tokens

    @property
    def batch_age_s(self) -> float:
        """How long the current batch has been running; 0 when the model is free."""
        return 0.0 if self._busy_since_s is None else time.monotonic() - self._busy_since_s

    async def submit(self, batch: TokenBatch, lane: Lane = Lane.INTERACTIVE) -> Outcome:
        """What became of the batch's items. Cancelling the caller takes those that still wait out of the queue."""
        call = _Call(batch, asyncio.get_running_loop().create_future())
        items = [
            QueueItem(length, time.monotonic(), _Place(call, i)) for i, length in enumerate(batch.lengths.tolist())
        ]
        for item in items:
            self._queue.add(item, lane)
        call.settle()  # a batch of nothing
        self._ensure_draining()
        try:
            return await call.future
        finally:
            for item in items:
                self._queue.discard(item)

    def _ensure_draining(self) -> None:
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_queue())

    async def _drain_queue(self) -> None:
        while items := self._queue.take(time.monotonic()):
            await self._run_batch([item.owner for item in items])

    async def _run_batch(self, places: Sequence[_Place]) -> None:
        batch = TokenBatch.gather([(place.call.batch, place.index) for place in places])
        try:
            rows = await self._on_model_thread(batch)
        except Exception as error:  # whatever the engine raises, the queue goes on
            self.failures_in_a_row += 1
            await self._divide(places, error)
            return
        self.failures_in_a_row = 0
        for place, row in zip(places, rows, strict=True):
            place.call.rows[place.index] = row
            place.call.settle()

    async def _divide(self, places: Sequence[_Place], error: Exception) -> None:
        """Find the item at fault: run the halves of a failed batch, and blame an item that fails alone."""
        if len(places) > 1:
            half = len(places) // 2
            await self._run_batch(places[:half])
            await self._run_batch(places[half:])
            return
        place = places[0]
        place.call.errors[place.index] = error if isinstance(error, MunjangError) else EngineError(type(error).__name__)
        place.call.settle()

    async def _on_model_thread(self, batch: TokenBatch) -> NDArray[Any]:
        self._busy_since_s = time.monotonic()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)
        finally:
            self.seconds_busy += self.batch_age_s
            self._busy_since_s = None
        self.tokens_done += int(batch.lengths.sum())
        if len(rows) != len(batch):
            raise EngineError("wrong number of rows")
        return rows
