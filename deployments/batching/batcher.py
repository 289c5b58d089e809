"""The batcher in a model replica: model threads take their batches directly from one queue."""

import contextlib
import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deployments.batching.call import Call, Ran
from deployments.batching.latency_model import BatchLimits, LatencyModel, limits_of
from deployments.batching.lone_run import LoneRun, Run
from deployments.batching.queue import Items, LengthQueue, Priority, Share
from deployments.metrics.model import ModelMetrics
from deployments.reports import Sums
from deployments.settings import BatchSettings
from deployments.tracing.spans import record
from pipelines.engines.model_stage import Outcome, finite
from pipelines.errors import EngineError, MunjangError
from pipelines.text.token_batch import TokenBatch

logger = logging.getLogger("ray.serve")


Shares: TypeAlias = list[Share[Call]]


class Batcher:
    """Queues the items of all calls and runs them in batches on `slots` model threads. `limits_of` sets their size.

    A thread that has finished a batch schedules the delivery of its rows on the event loop, which is the same for all
    calls, and takes the next batch at once. So the model does not wait for a loop that is busy with a large call. A
    further thread starts when a thread has taken a batch and items still wait. If no more items wait than threads are
    free, each takes one, so that the two sentences of a lone pair are computed at the same time. An item that is alone
    may run on the threads of all slots (`LoneRun`).

    run           takes a TokenBatch, returns one row per item, in order; up to `slots` calls of it run at once
    lone          runs items that are alone; None: `run` does
    slots         number of model threads
    padding_cost  time of a token of padding in `run`, relative to that of any other token
    name          the checkpoint and the engine, for the log
    metrics       where batches and the queue are recorded

    If a batch fails, its two halves run again, and so on, so that only the item at fault fails, with its own error.
    A row that is not finite is a failure. A batch that failed is logged once, without the exception's message, which
    might repeat a caller's text.
    """

    def __init__(
        self,
        run: Run,
        settings: BatchSettings,
        *,
        lone: LoneRun | None = None,
        slots: int = 1,
        padding_cost: float = 1.0,
        name: str = "the model",
        metrics: ModelMetrics | None = None,
    ) -> None:
        self._run = run
        self._name = name
        self._settings = settings
        self._slots = slots
        self._padding_cost = padding_cost
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="model")
        self._lock = threading.Lock()  # guards all attributes below, which the event loop and the model threads share
        self._queue = LengthQueue[Call]((settings.interactive_max_age_s, settings.bulk_max_age_s))
        self._model = LatencyModel()
        self._lone = lone
        self._working = 0
        self._started_s: dict[int, float] = {}  # start of the running batch, by thread id
        self.failures_in_a_row = 0
        self.failed_batches = 0  # since the start, without the halves that ran again
        self.seconds_busy = 0.0  # sum over all threads
        self._metrics = metrics or ModelMetrics()
        self._metrics.watch_queue(lambda: len(self._queue), lambda: self.waiting_tokens, lambda: self.waiting_age_s)
        self.batches = self.items = self.tokens = self.padded_tokens = 0  # of the batches that did not fail

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue, without padding. Running batches are not included."""
        return self._queue.tokens

    @property
    def waiting_age_s(self) -> float:
        """Seconds since the oldest waiting items were submitted; 0 if none wait."""
        with self._lock:
            return self._queue.age_s(time.monotonic())

    @property
    def waiting_items(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    def sums(self) -> Sums:
        """Return the work since the start. The time of running batches is included, their items are not."""
        with self._lock:
            now_s = time.monotonic()
            busy_s = self.seconds_busy + sum(now_s - started_s for started_s in self._started_s.values())
            return Sums(busy_s, self.batches, self.items, self.tokens, self.padded_tokens)

    @property
    def waiting_s(self) -> float:
        """Estimated seconds until all waiting items are done, in full batches on all threads."""
        with self._lock:
            tokens, cost = self._queue.tokens, self._model.cost
            batches = math.ceil(tokens / max(self._limits().padded, 1.0))
        return (batches * cost.fixed_s + tokens * cost.s_per_token) / self._slots

    @property
    def batch_age_s(self) -> float:
        """Seconds since the oldest running batch started; 0 if none runs."""
        with self._lock:
            return time.monotonic() - min(self._started_s.values()) if self._started_s else 0.0

    @property
    def stalled_s(self) -> float:
        """Seconds since the oldest waiting items were submitted, if no batch runs; 0 otherwise."""
        with self._lock:
            return 0.0 if self._started_s else self._queue.age_s(time.monotonic())

    async def submit(self, batch: TokenBatch, priority: Priority = Priority.INTERACTIVE) -> Outcome:
        """Return the outcome of the batch's items. Cancelling the task removes waiting items from the queue."""
        if not len(batch):
            return Outcome(np.array([]))
        call = Call(batch)
        with self._lock:
            self._queue.add(call, batch.lengths, priority, call.submitted_s)
            self._use_threads()
        try:
            return await call.outcome
        finally:
            if call.outcome.cancelled():
                with self._lock:
                    self._queue.discard(call)

    def _limits(self, target_s: float | None = None) -> BatchLimits:
        target_s = target_s or self._settings.target_batch_s
        most = self._settings.max_tokens
        return limits_of(self._model, max_tokens=most, target_s=target_s, padding_cost=self._padding_cost)

    def _use_threads(self) -> None:
        if len(self._queue) and self._working < self._slots:
            self._working += 1
            self._threads.submit(self._work)

    def _work(self) -> None:
        """Run batches until the queue is empty. This is the function of a model thread."""
        while shares := self._next_batch():
            self._complete(shares, log=True)

    def _next_batch(self) -> Shares:
        with self._lock:
            now_s = time.monotonic()
            limits, small = self._limits(), self._limits(self._settings.small_bulk_batch_s)
            if len(self._queue) <= self._slots - self._working + 1:
                limits = small = limits.one_item()
            shares = self._queue.take(now_s, limits, small)
            if shares:
                self._use_threads()
            else:
                self._working -= 1
        for call, items in shares:
            self._metrics.waited(now_s - call.submitted_s)
            if call.traceparent:
                record("queue", now_s - call.submitted_s, [call.traceparent], **{"munjang.items": len(items)})
        return shares

    def _complete(self, shares: Shares, *, log: bool = False) -> None:
        """Run a batch and deliver its rows. `log` says whether a failure is counted and logged."""
        try:
            rows, ran = self._rows(shares)
        except Exception as error:  # no error of an engine may end the thread
            if log:
                self._report(shares, error)
            self._divide(shares, error)
        else:
            _deliver(_succeed, shares, (rows, ran))

    def _report(self, shares: Shares, error: Exception) -> None:
        """Count and log a failed batch."""
        self._metrics.failed()
        with self._lock:
            self.failed_batches += 1
        lengths = [length for call, items in shares for length in call.batch.lengths[items].tolist()]
        logger.error(
            "%s failed with %s on a batch of %d items with %d to %d tokens; failed batches since the start: %d\n%s",
            *(self._name, type(error).__name__, len(lengths), min(lengths), max(lengths), self.failed_batches),
            "".join(traceback.format_tb(error.__traceback__)),
        )

    def _divide(self, shares: Shares, error: Exception) -> None:
        """Run the halves of a failed batch. An item that fails alone is the item at fault and gets the error."""
        singles = [Share(call, items[i : i + 1]) for call, items in shares for i in range(len(items))]
        if len(singles) > 1:
            half = len(singles) // 2
            self._complete(singles[:half])
            self._complete(singles[half:])
            return
        _deliver(_fail, shares, error if isinstance(error, MunjangError) else EngineError(type(error).__name__))

    def _rows(self, shares: Shares) -> tuple[NDArray[Any], Ran]:
        began_s = time.monotonic()
        with self._lock:
            self._started_s[threading.get_ident()] = began_s
            all_threads = self._on_all_threads(shares)
        done = None
        try:
            batch = TokenBatch.concatenate([_part(call.batch, items) for call, items in shares])
            rows = self._run_alone(self._lone, batch) if self._lone and all_threads else self._run(batch)
            if len(rows) != len(batch):
                raise EngineError("wrong number of rows")
            if not finite(rows).all():
                raise EngineError("a result that is not finite")
            done = batch
        finally:
            traceparents = [call.traceparent for call, _ in shares if call.traceparent]
            seconds, padded = self._account(done, traceparents, all_threads)
        return rows, Ran(began_s, seconds, len(batch), 1 - len(batch.ids) / max(padded, 1))

    def _run_alone(self, lone: LoneRun, batch: TokenBatch) -> NDArray[Any]:
        try:
            return lone.run(batch)
        except Exception as error:  # the item is computed all the same, unless it fails on one thread, too
            lone.give_up(error)
            return self._run(batch)

    def _on_all_threads(self, shares: Shares) -> bool | None:
        """Whether the item of a batch, which is alone in this replica, runs on all threads; None for other batches."""
        call, items = shares[0]
        if self._lone is None or self._working > 1 or len(self._queue) or len(shares) > 1 or len(items) > 1:
            return None
        return self._lone.chooses(int(call.batch.lengths[items[0]]))

    def _account(
        self, done: TokenBatch | None, traceparents: Sequence[str], all_threads: bool | None
    ) -> tuple[float, int]:
        """Record the end of this thread's batch, which worked for these spans; None means that it failed.

        `all_threads` is the choice for a lone item. Returns the batch's seconds, and its tokens with padding.
        """
        padded = int(done.lengths.max()) * len(done) if done else 0
        with self._lock:
            seconds = time.monotonic() - self._started_s.pop(threading.get_ident())
            self.seconds_busy += seconds
            self.failures_in_a_row = 0 if done else self.failures_in_a_row + 1
            if done:
                if self._lone and all_threads is not None:
                    self._lone.learn(len(done.ids), seconds, all_threads=all_threads)
                if not all_threads:
                    self._model.learn(len(done.ids) + self._padding_cost * (padded - len(done.ids)), seconds)
                self.batches += 1
                self.items += len(done)
                self.tokens += len(done.ids)
                self.padded_tokens += padded
        if done:
            self._metrics.ran(seconds, len(done), len(done.ids), padded)
            sizes = {"munjang.items": len(done), "munjang.tokens": len(done.ids), "munjang.padded_tokens": padded}
            record("forward", seconds, traceparents, **sizes)
        return seconds, padded


def _part(batch: TokenBatch, items: Items) -> TokenBatch:
    return batch if len(batch) == 1 else batch.select(items)


def _deliver(callback: Callable[[Shares, Any], None], shares: Shares, result: Any) -> None:
    """Schedule `callback` on the event loop, without waiting for it. Do nothing if the loop is closed."""
    with contextlib.suppress(RuntimeError):
        shares[0].owner.outcome.get_loop().call_soon_threadsafe(callback, shares, result)


def _succeed(shares: Shares, result: tuple[NDArray[Any], Ran]) -> None:
    rows, ran = result
    start = 0
    for call, items in shares:
        call.succeed(items, rows[start : start + len(items)], ran)
        start += len(items)


def _fail(shares: Shares, error: MunjangError) -> None:
    for call, items in shares:
        call.fail(items, error)
