"""The waiting items of a model replica, by length and by age."""

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedDict

from deployments.batching.latency_model import BatchLimits

Owner = TypeVar("Owner", bound=Hashable)
Items = NDArray[np.intp]


class Lane(IntEnum):
    """Interactive items go before bulk ones."""

    INTERACTIVE = 0
    BULK = 1


class Share(NamedTuple, Generic[Owner]):
    """One owner's part of a batch: which of its items."""

    owner: Owner
    items: Items


class LengthQueue(Generic[Owner]):
    """Chooses batches of similar length within limits on their padded size and on the padding in it.

    Many items are added at once, under their owner, which is added once. A batch starts with the longest item, or
    with one of the oldest owner where that has waited longer than `max_age_s` of its lane, and is filled with the
    next shorter ones, then the next longer ones. Items of one length part only where the batch is full, and a single
    item too long for the limits goes alone. The last two batches of a queue are cut best, or not at all. Choosing
    takes time by the different lengths in the batch, however many items wait.

    Bulk items go when nothing interactive waits, and one batch of them goes before interactive items when none has
    gone for their lane's `max_age_s`: nothing starves, and an interactive item waits for one bulk batch at most.

    Cutting the sorted items where padding would cost more than another batch is part-period balancing (DeMatteis
    1968, https://doi.org/10.1147/sj.71.0030): fixed costs and padding are at most twice those of the best cut
    (Wagner & Whitin 1958, https://doi.org/10.1287/mnsc.5.1.89). For wherever the best one runs on past one of these
    cuts, it pays for padding more than the batch that it saves.
    """

    def __init__(self, max_age_s: tuple[float, float]) -> None:
        self._lanes = [_Lane[Owner](age) for age in max_age_s]
        self._bulk_gone_s = -math.inf

    def __len__(self) -> int:
        return sum(lane.count for lane in self._lanes)

    @property
    def tokens(self) -> int:
        """Tokens waiting, without padding."""
        return sum(lane.tokens for lane in self._lanes)

    def add(self, owner: Owner, lengths: NDArray[np.integer], lane: Lane, now_s: float) -> None:
        """Let items of these `lengths` (items,) wait; one without tokens counts as if it had one."""
        if len(lengths):
            self._lanes[lane].add(owner, np.maximum(lengths, 1), now_s)

    def discard(self, owner: Owner) -> None:
        """Take out what still waits of the owner."""
        for lane in self._lanes:
            lane.discard(owner)

    def take(self, now_s: float, limits: BatchLimits) -> list[Share[Owner]]:
        """The next batch, each owner's part longest first; empty where nothing waits."""
        lane = self._next_lane(now_s)
        if lane is None:
            return []
        if lane is self._lanes[Lane.BULK]:
            self._bulk_gone_s = now_s
        return lane.take(now_s, limits)

    def _next_lane(self, now_s: float) -> "_Lane[Owner] | None":
        bulk = self._lanes[Lane.BULK]
        if bulk.overdue(now_s) and now_s - self._bulk_gone_s > bulk.max_age_s:
            return bulk
        return next((lane for lane in self._lanes if lane.count), None)


@dataclass(slots=True)
class _SameLength(Generic[Owner]):
    """Items of one length, by owner, oldest first."""

    items: dict[Owner, Items] = field(default_factory=dict)
    count: int = 0


@dataclass(slots=True)
class _Arrival:
    """When an owner's items came, and of which lengths some still wait, shortest first."""

    at_s: float
    lengths: dict[int, None]


class _Lane(Generic[Owner]):
    def __init__(self, max_age_s: float) -> None:
        self.max_age_s = max_age_s
        self.count = 0
        self.tokens = 0
        self._by_length: SortedDict[int, _SameLength[Owner]] = SortedDict()
        self._by_age: OrderedDict[Owner, _Arrival] = OrderedDict()

    def add(self, owner: Owner, lengths: NDArray[np.integer], now_s: float) -> None:
        parts = _by_length(lengths)
        for length, items in parts.items():
            if length not in self._by_length:
                self._by_length[length] = _SameLength()
            self._by_length[length].items[owner] = items
            self._account(length, len(items))
        self._by_age[owner] = _Arrival(now_s, dict.fromkeys(parts))

    def discard(self, owner: Owner) -> None:
        if owner in self._by_age:
            for length in list(self._by_age[owner].lengths):
                self._remove(owner, length)

    def overdue(self, now_s: float) -> _Arrival | None:
        """The oldest owner's, where it has waited longer than the lane allows."""
        oldest = next(iter(self._by_age.values()), None)
        return oldest if oldest and now_s - oldest.at_s > self.max_age_s else None

    def take(self, now_s: float, limits: BatchLimits) -> list[Share[Owner]]:
        overdue = self.overdue(now_s)
        longest = next(reversed(overdue.lengths)) if overdue else self._by_length.peekitem(-1)[0]
        parts: dict[Owner, list[Items]] = {}
        for length, count in sorted(self._choose(longest, limits), reverse=True):
            for owner, items in self._take_oldest(length, count):
                parts.setdefault(owner, []).append(items)
        return [Share(owner, np.concatenate(items)) for owner, items in parts.items()]

    def _choose(self, longest: int, limits: BatchLimits) -> list[tuple[int, int]]:
        """(length, how many) of a batch that starts with an item of length `longest`."""
        chosen: list[tuple[int, int]] = []
        count = tokens = 0
        from_the_longest = longest == self._by_length.peekitem(-1)[0]
        for length in self._around(longest):
            longest = max(longest, length)
            room = max(limits.padded // longest, 0 if chosen else 1) - count
            more = int(min(room, self._by_length[length].count))
            if more <= 0:
                break
            if longest * (count + more) - (tokens + more * length) > limits.padding:
                rest, rest_tokens = self.count - count, self.tokens - tokens
                is_last = rest * length <= min(limits.padded, rest_tokens + limits.padding)
                return self._cut_in_two(limits) if is_last and from_the_longest else chosen
            count, tokens = count + more, tokens + more * length
            chosen.append((length, more))
        return chosen

    def _cut_in_two(self, limits: BatchLimits) -> list[tuple[int, int]]:
        """Of all that waits the longer part, with the least padding in it and the rest; or all, where that has less
        padding than these two and another batch may have."""
        chosen = [(length, same.count) for length, same in reversed(self._by_length.items())]
        longest, starts = chosen[0][0], [length for length, _ in chosen[1:]]
        count, rest, rest_tokens = 0, self.count, self.tokens
        cuts = [(longest * rest - self.tokens - limits.padding, len(chosen))] if longest * rest <= limits.padded else []
        for cut, ((length, more), start) in enumerate(zip(chosen, starts, strict=False), start=1):
            count, rest, rest_tokens = count + more, rest - more, rest_tokens - more * length
            if max(longest * count, start * rest) <= limits.padded:
                cuts.append((longest * count + start * rest - self.tokens, cut))
        return chosen[: min(cuts)[1]]

    def _around(self, length: int) -> Iterator[int]:
        """The lengths that wait: this and the next shorter ones downwards, then the next longer ones upwards."""
        yield from self._by_length.irange(maximum=length, reverse=True)
        yield from self._by_length.irange(minimum=length, inclusive=(False, True))

    def _take_oldest(self, length: int, count: int) -> Iterator[Share[Owner]]:
        same = self._by_length[length].items
        while count:
            owner, items = next(iter(same.items()))
            taken = items[:count]
            count -= len(taken)
            if len(taken) == len(items):
                self._remove(owner, length)
            else:
                same[owner] = items[len(taken) :]
                self._account(length, -len(taken))
            yield Share(owner, taken)

    def _remove(self, owner: Owner, length: int) -> None:
        items = self._by_length[length].items.pop(owner)
        self._account(length, -len(items))
        arrival = self._by_age[owner]
        del arrival.lengths[length]
        if not arrival.lengths:
            del self._by_age[owner]

    def _account(self, length: int, change: int) -> None:
        same = self._by_length[length]
        same.count += change
        self.count += change
        self.tokens += change * length
        if not same.count:
            del self._by_length[length]


def _by_length(lengths: NDArray[np.integer]) -> dict[int, Items]:
    """The items of each length, shortest first."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1)).tolist()
    return {
        length: order[start:end]
        for length, start, end in zip(ordered[starts].tolist(), starts, [*starts[1:], len(order)], strict=True)
    }
