import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.batching.latency_model import BatchLimits
from deployments.batching.queue import LengthQueue, Priority, Share

AGES_S = (0.1, 1.0)


class Waiting:
    """A queue, and the lengths of the items of each owner."""

    def __init__(self, max_tokens: int = 64, max_padding: float = math.inf) -> None:
        self.limits = BatchLimits(max_tokens, max_padding)
        self.queue = LengthQueue[str](AGES_S)
        self.lengths: dict[str, Sequence[int]] = {}

    def add(
        self, owner: str, lengths: Sequence[int], priority: Priority = Priority.INTERACTIVE, at_s: float = 0.0
    ) -> None:
        self.lengths[owner] = lengths
        self.queue.add(owner, np.array(lengths, dtype=np.int32), priority, at_s)

    def take(self, now_s: float = 0.0) -> list[tuple[str, int]]:
        """The next batch as (owner, item)."""
        return [(owner, int(item)) for owner, items in self.queue.take(now_s, self.limits) for item in items]

    def take_lengths(self, now_s: float = 0.0) -> list[int]:
        return [self.lengths[owner][item] for owner, item in self.take(now_s)]

    def take_owners(self, now_s: float = 0.0) -> set[str]:
        return {owner for owner, _ in self.take(now_s)}


calls = st.lists(st.lists(st.integers(1, 100), max_size=20), max_size=6)
lengths_of_a_call = st.lists(st.integers(1, 100), min_size=1, max_size=60)
budgets = st.integers(1, 300)
paddings = st.integers(0, 200)


def filled(lengths: Sequence[int], max_tokens: int = 64, max_padding: float = math.inf) -> Waiting:
    waiting = Waiting(max_tokens, max_padding)
    waiting.add("call", lengths)
    return waiting


def drained(waiting: Waiting) -> list[list[int]]:
    """The lengths of all batches."""
    return list(iter(waiting.take_lengths, []))


def test_bulk_batches_are_small_while_interactive_items_come() -> None:
    queue = LengthQueue[str](AGES_S)
    queue.add("file", np.full(20, 4), Priority.BULK, 0.0)
    queue.add("pair", np.full(1, 4), Priority.INTERACTIVE, 0.5)
    limits = BatchLimits(40, 0), BatchLimits(8, 0)
    sizes = [(share.owner, len(share.items)) for now_s in (0.5, 0.6, 1.4, 1.6) for share in queue.take(now_s, *limits)]
    assert sizes == [("pair", 1), ("file", 2), ("file", 2), ("file", 10)]


@settings(deadline=None)
@given(calls, budgets, paddings, st.floats(0, 5), st.data())
def test_every_item_is_taken_once_and_limits_hold(
    calls: list[list[int]], max_tokens: int, max_padding: float, now_s: float, data: st.DataObject
) -> None:
    waiting = Waiting(max_tokens, max_padding)
    for number, lengths in enumerate(calls):
        waiting.add(str(number), lengths, data.draw(st.sampled_from(Priority)))
    assert len(waiting.queue) == sum(map(len, calls))
    assert waiting.queue.tokens == sum(map(sum, calls))
    taken = []
    while batch := waiting.take(now_s):
        taken += batch
        lengths = [waiting.lengths[owner][item] for owner, item in batch]
        padded = max(lengths) * len(lengths)
        assert padded <= max_tokens or len(batch) == 1
        assert padded - sum(lengths) <= 3 * max_padding  # merged last batches: padding of two, and cost of the second
    assert sorted(taken) == [(str(number), item) for number, call in enumerate(calls) for item in range(len(call))]
    assert len(waiting.queue) == waiting.queue.tokens == 0


@settings(deadline=None)
@given(lengths_of_a_call, budgets, paddings)
def test_a_batch_has_the_longest_items_if_none_is_overdue(
    lengths: list[int], max_tokens: int, max_padding: float
) -> None:
    batch = filled(lengths, max_tokens, max_padding).take_lengths()
    assert batch == sorted(lengths, reverse=True)[: len(batch)]


def overhead(batches: Sequence[Sequence[int]], batch_tokens: float) -> float:
    """Padding and fixed costs, in tokens."""
    return sum(max(batch) * len(batch) - sum(batch) + batch_tokens for batch in batches)


def least_overhead(lengths: Sequence[int], batch_tokens: float) -> float:
    """The least overhead of all ways to cut the sorted lengths into batches, by dynamic programming."""
    ordered = sorted(lengths, reverse=True)
    best = [0.0]
    for end in range(1, len(ordered) + 1):
        best.append(min(best[start] + overhead([ordered[start:end]], batch_tokens) for start in range(end)))
    return best[-1]


@settings(deadline=None)
@given(lengths_of_a_call, st.integers(0, 500))
def test_padding_and_fixed_costs_are_at_most_twice_the_least(lengths: list[int], batch_tokens: int) -> None:
    batches = drained(filled(lengths, max_tokens=10**9, max_padding=batch_tokens))
    assert overhead(batches, batch_tokens) <= 2 * least_overhead(lengths, batch_tokens)


def plain_part_period_balancing(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut where the items of the next length would raise the padding above the fixed cost of a batch."""
    batches: list[list[int]] = []
    for length, count in sorted(Counter(lengths).items(), reverse=True):
        last = batches[-1] if batches else []
        if not last or overhead([[*last, *[length] * count]], 0) > batch_tokens:
            batches.append(last := [])
        last += [length] * count
    return batches


@settings(deadline=None)
@given(lengths_of_a_call, st.integers(0, 500))
def test_choosing_the_last_two_batches_together_never_costs_more(lengths: list[int], batch_tokens: int) -> None:
    batches = drained(filled(lengths, max_tokens=10**9, max_padding=batch_tokens))
    plain = plain_part_period_balancing(lengths, batch_tokens)
    assert overhead(batches, batch_tokens) <= overhead(plain, batch_tokens)


def test_the_last_two_batches_have_the_least_padding_or_become_one() -> None:
    queue = {"max_tokens": 1000, "max_padding": 20}
    assert drained(filled([30, 20, 20, 8, 7], **queue)) == [[30, 20, 20], [8, 7]]
    assert drained(filled([30, 25, 14, 13, 12], **queue)) == [[30, 25], [14, 13, 12]]
    assert drained(filled([30, 25, 25, 19], **queue)) == [[30, 25, 25, 19]]


@settings(deadline=None)
@given(lengths_of_a_call, budgets, paddings)
def test_an_overdue_item_goes_in_the_next_batch(lengths: list[int], max_tokens: int, max_padding: float) -> None:
    waiting = Waiting(max_tokens, max_padding)
    waiting.add("early", [5])
    waiting.add("late", lengths, at_s=1.0)
    assert "early" in waiting.take_owners(1.0)


def test_no_item_starves_under_an_endless_stream_of_longer_ones() -> None:
    waiting = Waiting(max_tokens=50)
    waiting.add("short", [1])
    for step in range(1, 1000):
        now_s = step * 0.01
        waiting.add(f"long {step}", [50], at_s=now_s)
        if "short" in waiting.take_owners(now_s):
            assert now_s <= AGES_S[Priority.INTERACTIVE] + 0.02
            return
    raise AssertionError("starved")


def test_interactive_items_go_before_bulk_ones() -> None:
    waiting = Waiting(max_tokens=18)
    waiting.add("file", [9, 9, 9], Priority.BULK)
    waiting.add("single", [1])
    assert waiting.take_owners() == {"single"}


def test_bulk_items_do_not_starve_behind_interactive_ones() -> None:
    waiting = Waiting(max_tokens=5)
    waiting.add("file", [5, 5], Priority.BULK)
    served = 0
    for step in range(1, 400):
        now_s = step * 0.01
        waiting.add(f"single {step}", [5], at_s=now_s)
        served += "file" in waiting.take_owners(now_s)
    assert served == 2


def test_an_interactive_item_waits_for_at_most_one_overdue_bulk_batch() -> None:
    waiting = Waiting(max_tokens=64 * 8)
    waiting.add("file", [64] * 1024, Priority.BULK)
    assert waiting.take_owners(1.2) == {"file"}
    waiting.add("single", [4], at_s=1.2)
    assert waiting.take_owners(1.3) == {"single"}


def test_a_short_overdue_item_shares_its_batch_with_longer_ones_within_the_limits() -> None:
    waiting = Waiting(max_tokens=9)
    waiting.add("early", [2])
    waiting.add("late", [3, 9], at_s=1.0)
    assert waiting.take(1.05) == [("late", 0), ("early", 0)]


def test_items_of_equal_length_are_taken_oldest_first() -> None:
    waiting = Waiting(max_tokens=15)
    for owner in "abc":
        waiting.add(owner, [5, 5])
    assert waiting.take() == [("a", 0), ("a", 1), ("b", 0)]
    assert waiting.take() == [("b", 1), ("c", 0), ("c", 1)]


def test_items_without_tokens_are_taken_too() -> None:
    assert filled([0, 0], max_padding=0).take() == [("call", 0), ("call", 1)]


@settings(deadline=None)
@given(calls, st.data())
def test_items_of_a_discarded_owner_are_not_taken(calls: list[list[int]], data: st.DataObject) -> None:
    waiting = Waiting()
    for number, lengths in enumerate(calls):
        waiting.add(str(number), lengths, data.draw(st.sampled_from(Priority)))
    gone = data.draw(st.sets(st.sampled_from(list(waiting.lengths)))) if calls else set()
    before = {item for _ in range(data.draw(st.integers(0, 2))) for item in waiting.take()}
    for owner in gone:
        waiting.queue.discard(owner)
        waiting.queue.discard(owner)
    after = set()
    while batch := waiting.take():
        after |= set(batch)
    everything = {(owner, item) for owner, lengths in waiting.lengths.items() for item in range(len(lengths))}
    assert after == {(owner, item) for owner, item in everything - before if owner not in gone}
    assert waiting.queue.tokens == 0


def test_a_share_has_its_owner_and_item_indices() -> None:
    queue = LengthQueue[str](AGES_S)
    queue.add("call", np.array([4, 7]), Priority.BULK, 0.0)
    [share] = queue.take(0.0, BatchLimits(100, 100))
    assert isinstance(share, Share)
    assert (share.owner, share.items.tolist()) == ("call", [1, 0])
