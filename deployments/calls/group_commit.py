"""Group commit at the ingress: items that arrive while calls are in flight leave together in the next call.

There is no timer. On an idle system an item leaves at once and alone. On a busy system the batches grow by themselves,
because more items arrive while a call is in flight. This is the group commit of databases (DeWitt et al. 1984,
https://doi.org/10.1145/602259.602261) without its timer.
"""

import asyncio
import contextlib
import contextvars
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from deployments.calls.request_work import CALL, REQUEST, CallWork
from deployments.metrics.group_commit import GroupCommitMetrics
from deployments.tracing.spans import current, record, span_of
from pipelines.errors import MunjangError, Overloaded, StageUnavailable, UnavailableError

CALLS_PER_PORTION = 4
RECENT_S = 0.25
FORGET = 0.8
ITEMS_DIVISOR, CALLS_DIVISOR = 4, 2

Item = TypeVar("Item")
Result = TypeVar("Result")
Waited = TypeVar("Waited")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    submitted_s: float
    traceparent: str | None
    future: asyncio.Future[Result]
    call: CallWork | None = None


@dataclass(slots=True)
class _Past:
    """The seconds, items and weight of past calls. Each call counts `FORGET` times less than the one after it."""

    seconds: float = 0.0
    items: float = 0.0
    weight: float = 0.0

    def add(self, seconds: float, items: int, weight: int) -> None:
        """Count one more call."""
        self.seconds = FORGET * self.seconds + seconds
        self.items = FORGET * self.items + items
        self.weight = FORGET * self.weight + weight

    def seconds_for(self, items: int, weight: int) -> float:
        """The seconds that calls would take one after the other: the lower one of the times by items and by weight.

        A call has a fixed cost, so the weight of few small items would promise too long a time for long ones, and the
        number of few long items for small ones.
        """
        if not self.items:
            return 0.0
        return self.seconds * min(items / self.items, weight / max(self.weight, 1))


class GroupCommit(Generic[Item, Result]):
    """Combines single items into calls on whole batches.

    call         takes items, returns one result or exception per item, in order; if it raises, all its items fail
    max_calls    calls in flight at the same time
    max_items    items in one call
    max_weight   sum of `weigh(item)` in one call; a single heavier item has a call of its own
    max_waiting  items that may wait; submitting more raises Overloaded
    max_wait_s   longest expected wait in seconds; submitting more raises Overloaded. Without it an overloaded system
                 would answer nobody in time, since each item would have waited until shortly before its deadline
    gives_way_to another group commit; while it is in use, calls have `ITEMS_DIVISOR` times fewer items, and
                 `CALLS_DIVISOR` times fewer calls are in flight, since a large call keeps the processes on its path
                 busy for a long time
    metrics      where calls and waiting items are recorded
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        max_calls: int,
        max_items: int,
        max_waiting: int,
        max_wait_s: float = math.inf,
        max_weight: int = 2**62,
        weigh: Callable[[Item], int] = lambda _: 1,
        gives_way_to: "GroupCommit[Item, Result] | None" = None,
        metrics: GroupCommitMetrics | None = None,
    ) -> None:
        self._call = call
        self._max_calls = max_calls
        self._max_items = max_items
        self._max_weight = max_weight
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._weigh = weigh
        self._gives_way_to = gives_way_to
        self._last_used_s = -math.inf
        self._waiting: OrderedDict[_Waiting[Item, Result], None] = OrderedDict()
        self._calls: set[asyncio.Task[None]] = set()
        # Calls run in an empty context. With the context of a request, Serve would cancel the whole batch when that
        # request is cancelled.
        self._context = contextvars.Context()
        self._waiting_weight = 0
        self._past = _Past()
        self._metrics = metrics or GroupCommitMetrics()
        self._metrics.watch(lambda: len(self._waiting), lambda: self.waiting_age_s)
        self.calls = 0  # since the start
        self.items = 0  # in those calls

    @property
    def used_recently(self) -> bool:
        """Whether items were submitted within the last `RECENT_S` seconds."""
        return time.monotonic() - self._last_used_s < RECENT_S

    @property
    def waiting_age_s(self) -> float:
        """Seconds since the oldest waiting item was submitted; 0 if none waits. Other threads may ask, too."""
        with contextlib.suppress(StopIteration, RuntimeError):  # none waits, or the first one left just now
            return time.monotonic() - next(iter(self._waiting)).submitted_s
        return 0.0

    @property
    def waiting_items(self) -> int:
        """Items that wait for a call."""
        return len(self._waiting)

    @property
    def waiting_s(self) -> float:
        """Estimated seconds that the waiting items would take in calls one after the other."""
        return self._past.seconds_for(len(self._waiting), self._waiting_weight)

    async def submit(self, item: Item) -> Result:
        """Return the item's result. Raises the item's error, or Overloaded. Cancelling the task withdraws the item."""
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Item]) -> list[Result]:
        """Return results in the items' order. Raises the first error, or Overloaded.

        A long list is split into portions of `CALLS_PER_PORTION` calls. Only one portion of it waits at a time, so that
        several long lists take turns.
        """
        return [result for some in self._admitted(items) for result in await self._submit_portion(some, _result)]

    async def submit_each(self, items: Sequence[Item]) -> list[Result | MunjangError]:
        """The same, with the error of an item that is at fault in place of its result. Raises all other errors."""
        portions = self._admitted(items)
        return [result for some in portions for result in await self._submit_portion(some, _result_or_fault)]

    def _admitted(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """Split the items into portions. Raises Overloaded."""
        self._last_used_s = time.monotonic()
        portion = CALLS_PER_PORTION * self._max_items
        portions = [items[start : start + portion] for start in range(0, len(items), portion)]
        self._admit(len(portions[0]) if portions else 0)
        return portions

    async def _submit_portion(
        self, items: Sequence[Item], wait: Callable[[asyncio.Future[Result]], Awaitable[Waited]]
    ) -> list[Waited]:
        loop = asyncio.get_running_loop()
        now_s, traceparent = time.monotonic(), current()
        entries = [
            _Waiting[Item, Result](item, self._weigh(item), now_s, traceparent, loop.create_future()) for item in items
        ]
        self._waiting.update(dict.fromkeys(entries))
        self._waiting_weight += sum(entry.weight for entry in entries)
        self._dispatch()
        try:
            results = [await wait(entry.future) for entry in entries]
            if (request := REQUEST.get()) is not None:
                calls = [entry.call for entry in entries if entry.call is not None]
                request.add(calls, results, now_s, sum(entry.weight for entry in entries))
            return results
        finally:
            for entry in entries:
                entry.future.cancel()
                if entry in self._waiting:
                    self._remove(entry)

    def _admit(self, count: int) -> None:
        expected_s = self.waiting_s / self._max_calls
        if self._waiting and (len(self._waiting) + count > self._max_waiting or expected_s > self._max_wait_s):
            raise Overloaded(math.ceil(max(1.0, expected_s)))

    def _remove(self, entry: _Waiting[Item, Result]) -> None:
        del self._waiting[entry]
        self._waiting_weight -= entry.weight

    def _dispatch(self) -> None:
        max_calls, max_items = self._limits()
        while len(self._calls) < max_calls:
            batch = self._next_batch(max_items)
            if not batch:
                return
            task = asyncio.get_running_loop().create_task(self._run(batch), context=self._context.copy())
            self._calls.add(task)
            self.calls += 1
            self.items += len(batch)
            task.add_done_callback(self._returned, context=self._context)
            _cancel_when_all_left(task, batch)

    def _limits(self) -> tuple[int, int]:
        """Return the calls that may be in flight at the same time, and the items of one call."""
        if self._gives_way_to is None or not self._gives_way_to.used_recently:
            return self._max_calls, self._max_items
        return max(1, self._max_calls // CALLS_DIVISOR), max(1, self._max_items // ITEMS_DIVISOR)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._dispatch()

    def _next_batch(self, max_items: int) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        weight = 0
        while self._waiting and len(batch) < max_items:
            entry = next(iter(self._waiting))
            if batch and weight + entry.weight > self._max_weight:
                break
            self._remove(entry)
            batch.append(entry)
            weight += entry.weight
        return batch

    async def _run(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        started_s = time.monotonic()
        traceparents = _waited(batch, started_s)
        call = CallWork(started_s)
        CALL.set(call)
        for entry in batch:
            entry.call = call
        outcomes: Sequence[Result | Exception] = [StageUnavailable("the call")] * len(batch)  # if it is cancelled
        try:
            with span_of("call", traceparents, **{"munjang.items": len(batch)}):
                outcomes = await self._call([entry.item for entry in batch])
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(outcomes)} results for {len(batch)} items")
            seconds = time.monotonic() - started_s
            self._past.add(seconds, len(batch), sum(entry.weight for entry in batch))
            self._metrics.called(seconds, len(batch))
        except Exception as error:  # all items of a failed call have its error
            outcomes = [error] * len(batch)
        finally:
            for entry, outcome in zip(batch, outcomes, strict=True):
                _settle(entry.future, outcome)


def _waited(batch: Sequence[_Waiting[Item, Result]], now_s: float) -> list[str]:
    """The spans for which items of the batch have waited, each of which gets a span of its wait."""
    since_s = {entry.traceparent: entry.submitted_s for entry in batch if entry.traceparent}
    for traceparent, submitted_s in since_s.items():
        record("group commit", now_s - submitted_s, [traceparent])
    return list(since_s)


async def _result(future: asyncio.Future[Result]) -> Result:
    return await future


async def _result_or_fault(future: asyncio.Future[Result]) -> Result | MunjangError:
    try:
        return await future
    except UnavailableError:  # this is not the item's fault
        raise
    except MunjangError as error:
        return error


def _settle(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _cancel_when_all_left(task: asyncio.Task[None], batch: Sequence[_Waiting[Item, Result]]) -> None:
    """Cancel the call, and so the work in the replicas, once all its items are withdrawn."""
    waiting = len(batch)

    def count_withdrawal(future: asyncio.Future[Result]) -> None:
        nonlocal waiting
        waiting -= future.cancelled()
        if waiting == 0:
            task.cancel()

    for entry in batch:
        entry.future.add_done_callback(count_withdrawal)
