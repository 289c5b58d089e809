"""The batcher in a model replica: one queue, from which model threads take their batches themselves."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deployments.batching.latency_model import BatchLimits, LatencyModel, limits_of
from deployments.batching.queue import Items, Lane, LengthQueue, Share
from deployments.settings import BatchSettings
from pipelines.engines.model_stage import Outcome
from pipelines.errors import EngineError, MunjangError
from pipelines.text.token_batch import TokenBatch


class _Call:
    """One caller's batch, and what has become of its items so far. Only its event loop touches it."""

    def __init__(self, batch: TokenBatch) -> None:
        self.batch = batch
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._rows: NDArray[Any] | None = None
        self._errors: dict[int, MunjangError] = {}
        self._left = len(batch)

    def succeed(self, items: Items, rows: NDArray[Any]) -> None:
        """These items have these rows."""
        if self._rows is None:
            self._rows = np.empty((len(self.batch), *rows.shape[1:]), dtype=rows.dtype)
        self._rows[items] = rows
        self._settle(len(items))

    def fail(self, items: Items, error: MunjangError) -> None:
        """These items have this error."""
        self._errors.update(dict.fromkeys(items.tolist(), error))
        self._settle(len(items))

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left == 0 and not self.outcome.done():
            self.outcome.set_result(Outcome(self._good_rows(), self._errors))

    def _good_rows(self) -> NDArray[Any]:
        if self._rows is None:
            return np.array([])
        return np.delete(self._rows, list(self._errors), axis=0) if self._errors else self._rows


Shares: TypeAlias = list[Share[_Call]]


class Batcher:
    """Items of all callers in one queue; batches run on `slots` model threads, as large as it pays (`limits_of`).

    A thread that is done takes its next batch itself and has the event loop, the same for all callers, told of the
    last one in passing: the model does not wait for a loop that is busy with a large call. A second thread starts
    work when the first has left something to do.

    run    takes a TokenBatch, returns one row per item, in order; up to `slots` of them run at once
    slots  a thread of its own each

    An item whose batch fails is tried again in halves of it, so that only the item at fault fails, with its own error.
    """

    def __init__(self, run: Callable[[TokenBatch], NDArray[Any]], settings: BatchSettings, *, slots: int = 1) -> None:
        self._run = run
        self._settings = settings
        self._slots = slots
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="model")
        self._lock = threading.Lock()  # guards all that follows, which the loop and the model threads share
        self._queue = LengthQueue[_Call]((settings.interactive_max_age_s, settings.bulk_max_age_s))
        self._model = LatencyModel()
        self._working = 0
        self._begun_s: dict[int, float] = {}  # by thread
        self.failures_in_a_row = 0
        self.seconds_busy = 0.0  # of all threads together

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue, without padding and without the batches that run."""
        return self._queue.tokens

    @property
    def waiting_s(self) -> float:
        """How long what waits will take: full batches, one after the other on each thread."""
        with self._lock:
            tokens, cost = self._queue.tokens, self._model.cost
            batches = math.ceil(tokens / max(self._limits().padded, 1.0))
        return (batches * cost.fixed_s + tokens * cost.s_per_token) / self._slots

    @property
    def batch_age_s(self) -> float:
        """How long the oldest of the current batches has been running; 0 when the model is free."""
        with self._lock:
            return time.monotonic() - min(self._begun_s.values()) if self._begun_s else 0.0

    async def submit(self, batch: TokenBatch, lane: Lane = Lane.INTERACTIVE) -> Outcome:
        """What became of the batch's items. Cancelling the caller takes those that still wait out of the queue."""
        if not len(batch):
            return Outcome(np.array([]))
        call = _Call(batch)
        with self._lock:
            self._queue.add(call, batch.lengths, lane, time.monotonic())
            self._use_threads()
        try:
            return await call.outcome
        finally:
            if call.outcome.cancelled():
                with self._lock:
                    self._queue.discard(call)

    def _limits(self) -> BatchLimits:
        return limits_of(self._model, max_tokens=self._settings.max_tokens, target_s=self._settings.target_batch_s)

    def _use_threads(self) -> None:
        if len(self._queue) and self._working < self._slots:
            self._working += 1
            self._threads.submit(self._work)

    def _work(self) -> None:
        """On a model thread: batch after batch, until nothing waits."""
        while shares := self._next_batch():
            self._complete(shares)

    def _next_batch(self) -> Shares:
        with self._lock:
            shares = self._queue.take(time.monotonic(), self._limits())
            if shares:
                self._use_threads()
            else:
                self._working -= 1
            return shares

    def _complete(self, shares: Shares) -> None:
        try:
            rows = self._rows(shares)
        except Exception as error:  # whatever the engine raises, the queue goes on
            self._divide(shares, error)
        else:
            _tell(_succeed, shares, rows)

    def _divide(self, shares: Shares, error: Exception) -> None:
        """Find the item at fault: run the halves of a failed batch, and blame an item that fails alone."""
        singles = [Share(call, items[i : i + 1]) for call, items in shares for i in range(len(items))]
        if len(singles) > 1:
            half = len(singles) // 2
            self._complete(singles[:half])
            self._complete(singles[half:])
            return
        _tell(_fail, shares, error if isinstance(error, MunjangError) else EngineError(type(error).__name__))

    def _rows(self, shares: Shares) -> NDArray[Any]:
        with self._lock:
            self._begun_s[threading.get_ident()] = time.monotonic()
        padded = None
        try:
            batch = TokenBatch.concatenate([_part(call.batch, items) for call, items in shares])
            rows = self._run(batch)
            if len(rows) != len(batch):
                raise EngineError("wrong number of rows")
            padded = int(batch.lengths.max()) * len(batch)
        finally:
            self._account(padded)
        return rows

    def _account(self, padded: int | None) -> None:
        """The thread's batch is done, of `padded` tokens, or failed."""
        with self._lock:
            seconds = time.monotonic() - self._begun_s.pop(threading.get_ident())
            self.seconds_busy += seconds
            self.failures_in_a_row = self.failures_in_a_row + 1 if padded is None else 0
            if padded is not None:
                self._model.learn(padded, seconds)


def _part(batch: TokenBatch, items: Items) -> TokenBatch:
    return batch if len(batch) == 1 else batch.select(items)


def _tell(what: Callable[[Shares, Any], None], shares: Shares, result: Any) -> None:
    """Have the callers' event loop take note of a batch's result; without waiting, and in vain where it has ended."""
    with contextlib.suppress(RuntimeError):
        shares[0].owner.outcome.get_loop().call_soon_threadsafe(what, shares, result)


def _succeed(shares: Shares, rows: NDArray[Any]) -> None:
    start = 0
    for call, items in shares:
        call.succeed(items, rows[start : start + len(items)])
        start += len(items)


def _fail(shares: Shares, error: MunjangError) -> None:
    for call, items in shares:
        call.fail(items, error)
