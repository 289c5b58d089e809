"""The waiting items of a model replica, by length and by age."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sortedcontainers import SortedKeyList


class Lane(IntEnum):
    """Interactive items go before bulk ones."""

    INTERACTIVE = 0
    BULK = 1


@dataclass(slots=True, eq=False)
class QueueItem:
    """An item of `length` tokens that arrived at `arrived_s`; `owner` is the caller's own."""

    length: int
    arrived_s: float
    owner: Any


class LengthQueue:
    """Chooses batches of similar length whose padded size keeps to a budget.

    A batch starts with the longest item, or with the oldest where that has waited longer than `max_age_s` of its
    lane, and is filled with the next shorter ones, then the next longer ones. Its padded size, longest x count,
    keeps to `max_tokens`; a single longer item goes alone. Bulk items go when nothing interactive waits, and one
    batch of them goes before interactive items when none has gone for their lane's `max_age_s`: nothing starves,
    and an interactive item waits for one bulk batch at most.
    """

    def __init__(self, max_tokens: int, max_age_s: tuple[float, float]) -> None:
        self._max_tokens = max_tokens
        self._lanes = [_Lane(age) for age in max_age_s]
        self._bulk_gone_s = -math.inf

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    @property
    def tokens(self) -> int:
        """Tokens waiting, without padding."""
        return sum(lane.tokens for lane in self._lanes)

    def add(self, item: QueueItem, lane: Lane) -> None:
        """Let `item` wait."""
        self._lanes[lane].add(item)

    def discard(self, item: QueueItem) -> None:
        """Take `item` out, wherever it waits, if it does."""
        for lane in self._lanes:
            lane.discard(item)

    def take(self, now_s: float) -> list[QueueItem]:
        """The next batch, longest first; empty where nothing waits."""
        lane = self._next_lane(now_s)
        batch = lane.choose(self._max_tokens, now_s) if lane else []
        for item in batch:
            self.discard(item)
        if lane is self._lanes[Lane.BULK]:
            self._bulk_gone_s = now_s
        return sorted(batch, key=lambda item: -item.length)

    def _next_lane(self, now_s: float) -> "_Lane | None":
        bulk = self._lanes[Lane.BULK]
        if bulk.overdue(now_s) and now_s - self._bulk_gone_s > bulk.max_age_s:
            return bulk
        return next((lane for lane in self._lanes if len(lane)), None)


class _Lane:
    def __init__(self, max_age_s: float) -> None:
        self.max_age_s = max_age_s
        self._by_length: SortedKeyList = SortedKeyList(key=lambda item: item.length)
        self._by_age: OrderedDict[QueueItem, None] = OrderedDict()
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, item: QueueItem) -> None:
        self._by_length.add(item)
        self._by_age[item] = None
        self.tokens += item.length

    def discard(self, item: QueueItem) -> None:
        if item in self._by_age:
            del self._by_age[item]
            self._by_length.remove(item)
            self.tokens -= item.length

    def overdue(self, now_s: float) -> QueueItem | None:
        """The oldest item, where it has waited longer than the lane allows."""
        oldest = next(iter(self._by_age), None)
        return oldest if oldest and now_s - oldest.arrived_s > self.max_age_s else None

    def choose(self, max_tokens: int, now_s: float) -> list[QueueItem]:
        anchor = self.overdue(now_s) or self._by_length[-1]
        batch = [anchor]
        longest = anchor.length
        for item in self._around(anchor):
            longest = max(longest, item.length)
            if longest * (len(batch) + 1) > max_tokens:
                break
            batch.append(item)
        return batch

    def _around(self, anchor: QueueItem) -> Iterator[QueueItem]:
        """The others: the next shorter ones downwards, then the next longer ones upwards."""
        at: Callable[[int], QueueItem] = self._by_length.__getitem__
        place = self._by_length.index(anchor)
        yield from (at(i) for i in range(place - 1, -1, -1))
        yield from (at(i) for i in range(place + 1, len(self._by_length)))
