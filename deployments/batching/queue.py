"""The waiting items of a model replica, ordered by length and by age."""

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

RECENT_S = 1.0

Owner = TypeVar("Owner", bound=Hashable)
Items = NDArray[np.intp]


class Priority(IntEnum):
    """Interactive items usually go before bulk items."""

    INTERACTIVE = 0
    BULK = 1


class Share(NamedTuple, Generic[Owner]):
    """The part of a batch that belongs to one owner: the indices of its items."""

    owner: Owner
    items: Items


class LengthQueue(Generic[Owner]):
    """Chooses batches of items of similar length, within limits on their padded tokens and their padding.

    An owner adds all of its items at once, and only once. A batch starts with the longest item, or with the longest
    item of the oldest owner if that owner has waited longer than the `max_age_s` of its priority. The batch is filled
    with the next shorter items, then with the next longer ones. Items of equal length are split between batches only
    if a batch is full. A single item that is longer than the limit has a batch of its own. If all waiting items fit
    into two batches, the queue splits them where the padding of both is least, or takes all of them in one batch if
    its additional padding costs less than a second batch. The time to choose a batch depends on the number of different
    lengths, not on the number of waiting items.

    Bulk items go when no interactive item waits, in small batches while interactive items have come within the last
    `RECENT_S` seconds: the next one waits until a batch ends. If bulk items have waited longer than their `max_age_s`
    and no bulk batch has gone for as long, one bulk batch goes before the interactive items. So no item starves, and an
    interactive item waits for at most one bulk batch.

    Cutting the sorted items where padding would cost more than another batch is part-period balancing (DeMatteis
    1968, https://doi.org/10.1147/sj.71.0030). The sum of fixed costs and padding is at most twice that of the best cuts
    (Wagner & Whitin 1958, https://doi.org/10.1287/mnsc.5.1.89): a batch of the best solution that extends over one of
    these cuts pays more for padding than the batch that it saves.
    """

    def __init__(self, max_age_s: tuple[float, float]) -> None:
        self._by_priority = [_WaitingItems[Owner](age) for age in max_age_s]
        self._bulk_gone_s = self._interactive_came_s = -math.inf

    def __len__(self) -> int:
        return sum(items.count for items in self._by_priority)

    @property
    def tokens(self) -> int:
        """Tokens waiting, without padding."""
        return sum(items.tokens for items in self._by_priority)

    def age_s(self, now_s: float) -> float:
        """Seconds since the oldest waiting items were added; 0 if none wait."""
        return max((items.age_s(now_s) for items in self._by_priority), default=0.0)

    def add(self, owner: Owner, lengths: NDArray[np.integer], priority: Priority, now_s: float) -> None:
        """Add an owner's items of these `lengths` (items,). An item without tokens counts as one token."""
        if len(lengths):
            if priority is Priority.INTERACTIVE:
                self._interactive_came_s = now_s
            self._by_priority[priority].add(owner, np.maximum(lengths, 1), now_s)

    def discard(self, owner: Owner) -> None:
        """Remove the waiting items of this owner."""
        for items in self._by_priority:
            items.discard(owner)

    def take(self, now_s: float, limits: BatchLimits, small: BatchLimits | None = None) -> list[Share[Owner]]:
        """Remove and return the next batch, with the longest items of each owner first; empty if nothing waits.

        `small` are the limits of a batch of bulk items while interactive items come; None: `limits` apply to it, too.
        """
        items = self._next_items(now_s)
        if items is None:
            return []
        if items is self._by_priority[Priority.BULK]:
            self._bulk_gone_s = now_s
            if small is not None and now_s - self._interactive_came_s < RECENT_S:
                return items.take(now_s, small)
        return items.take(now_s, limits)

    def _next_items(self, now_s: float) -> "_WaitingItems[Owner] | None":
        bulk = self._by_priority[Priority.BULK]
        if bulk.overdue(now_s) and now_s - self._bulk_gone_s > bulk.max_age_s:
            return bulk
        return next((items for items in self._by_priority if items.count), None)


@dataclass(slots=True)
class _SameLength(Generic[Owner]):
    """Items of one length, by owner, oldest first."""

    items: dict[Owner, Items] = field(default_factory=dict)
    count: int = 0


@dataclass(slots=True)
class _Arrival:
    """When an owner's items arrived, and the lengths of those that still wait, shortest first."""

    at_s: float
    lengths: dict[int, None]


class _WaitingItems(Generic[Owner]):
    """The waiting items of one priority."""

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

    def age_s(self, now_s: float) -> float:
        oldest = next(iter(self._by_age.values()), None)
        return now_s - oldest.at_s if oldest else 0.0

    def overdue(self, now_s: float) -> _Arrival | None:
        """The arrival of the oldest owner, if it has waited longer than `max_age_s`."""
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
        """Choose a batch that starts with an item of length `longest`, as (length, number of items)."""
        chosen: list[tuple[int, int]] = []
        count = tokens = 0
        from_the_longest = longest == self._by_length.peekitem(-1)[0]
        for length in self._lengths_from(longest):
            longest = max(longest, length)
            room = max(limits.padded // longest, 0 if chosen else 1) - count
            more = int(min(room, self._by_length[length].count))
            if more <= 0:
                break
            if longest * (count + more) - (tokens + more * length) > limits.padding:
                rest, rest_tokens = self.count - count, self.tokens - tokens
                is_last = rest * length <= min(limits.padded, rest_tokens + limits.padding)
                return self._choose_before_last(limits) if is_last and from_the_longest else chosen
            count, tokens = count + more, tokens + more * length
            chosen.append((length, more))
        return chosen

    def _choose_before_last(self, limits: BatchLimits) -> list[tuple[int, int]]:
        """Choose the first of the last two batches, which has the longer items, so that both have the least padding.

        Choose all waiting items if their padding is less than that of two batches plus the cost of a second batch,
        which is `limits.padding`.
        """
        chosen = [(length, same.count) for length, same in reversed(self._by_length.items())]
        longest, starts = chosen[0][0], [length for length, _ in chosen[1:]]
        count, rest, rest_tokens = 0, self.count, self.tokens
        cuts = [(longest * rest - self.tokens - limits.padding, len(chosen))] if longest * rest <= limits.padded else []
        for cut, ((length, more), start) in enumerate(zip(chosen, starts, strict=False), start=1):
            count, rest, rest_tokens = count + more, rest - more, rest_tokens - more * length
            if max(longest * count, start * rest) <= limits.padded:
                cuts.append((longest * count + start * rest - self.tokens, cut))
        return chosen[: min(cuts)[1]]

    def _lengths_from(self, length: int) -> Iterator[int]:
        """Yield this waiting length and the shorter ones, longest first, then the longer ones, shortest first."""
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
    """The indices of the items of each length, shortest length first."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1)).tolist()
    return {
        length: order[start:end]
        for length, start, end in zip(ordered[starts].tolist(), starts, [*starts[1:], len(order)], strict=True)
    }
