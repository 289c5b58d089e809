from hypothesis import given
from hypothesis import strategies as st

from deployments.length_queue import Lane, LengthQueue, QueueItem

AGES_S = (0.1, 1.0)


def filled(lengths: list[int], max_tokens: int, *, lane: Lane = Lane.INTERACTIVE, at_s: float = 0.0) -> LengthQueue:
    queue = LengthQueue(max_tokens, AGES_S)
    for number, length in enumerate(lengths):
        queue.add(QueueItem(length, at_s, number), lane)
    return queue


lengths = st.lists(st.integers(1, 100), max_size=50)


@given(lengths, st.integers(1, 300), st.floats(0, 5))
def test_every_item_is_taken_once_and_budgets_hold(lengths: list[int], max_tokens: int, now_s: float) -> None:
    queue = filled(lengths, max_tokens)
    taken = []
    while batch := queue.take(now_s):
        taken += [item.owner for item in batch]
        padded = max(item.length for item in batch) * len(batch)
        assert padded <= max_tokens or len(batch) == 1
    assert sorted(taken) == list(range(len(lengths)))
    assert len(queue) == 0
    assert queue.tokens == 0


@given(lengths.filter(bool), st.integers(1, 300))
def test_a_fresh_batch_starts_with_the_longest_and_holds_its_nearest(lengths: list[int], max_tokens: int) -> None:
    batch = filled(lengths, max_tokens).take(0.0)
    expected = sorted(lengths, reverse=True)[: len(batch)]
    assert [item.length for item in batch] == expected


@given(lengths.filter(bool), st.integers(1, 300))
def test_an_overdue_item_goes_in_the_next_batch(lengths: list[int], max_tokens: int) -> None:
    queue = filled([5], max_tokens)
    for length in lengths:
        queue.add(QueueItem(length, 1.0, "late"), Lane.INTERACTIVE)
    assert 0 in [item.owner for item in queue.take(1.0)]


def test_no_item_starves_under_an_endless_stream_of_longer_ones() -> None:
    queue = filled([1], max_tokens=50)
    for step in range(1, 1000):
        now_s = step * 0.01
        queue.add(QueueItem(50, now_s, "long"), Lane.INTERACTIVE)
        if 0 in [item.owner for item in queue.take(now_s)]:
            assert now_s <= AGES_S[Lane.INTERACTIVE] + 0.02
            return
    raise AssertionError("starved")


def test_interactive_items_go_before_bulk_ones() -> None:
    queue = filled([9, 9, 9], max_tokens=18, lane=Lane.BULK)
    queue.add(QueueItem(1, 0.0, "single"), Lane.INTERACTIVE)
    assert [item.owner for item in queue.take(0.0)] == ["single"]


def test_bulk_items_do_not_starve_behind_interactive_ones() -> None:
    queue = filled([5, 5], max_tokens=5, lane=Lane.BULK)
    served = 0
    for step in range(1, 400):
        now_s = step * 0.01
        queue.add(QueueItem(5, now_s, "single"), Lane.INTERACTIVE)
        served += any(item.owner != "single" for item in queue.take(now_s))
    assert served == 2


def test_overdue_bulk_items_hold_an_interactive_one_back_by_one_batch_at_most() -> None:
    queue = filled([64] * 1024, max_tokens=64 * 8, lane=Lane.BULK)
    assert queue.take(1.2)[0].owner != "single"
    queue.add(QueueItem(4, 1.2, "single"), Lane.INTERACTIVE)
    assert [item.owner for item in queue.take(1.3)] == ["single"]


def test_a_short_overdue_item_shares_its_batch_with_longer_ones_within_the_budget() -> None:
    queue = filled([2, 3, 9], max_tokens=9)
    assert [item.length for item in queue.take(1.0)] == [3, 2]


@given(lengths, st.data())
def test_discarded_items_are_not_taken(lengths: list[int], data: st.DataObject) -> None:
    queue = LengthQueue(64, AGES_S)
    items = [QueueItem(length, 0.0, number) for number, length in enumerate(lengths)]
    for item in items:
        queue.add(item, data.draw(st.sampled_from(Lane)))
    gone = data.draw(st.sets(st.sampled_from(range(len(items))))) if items else set()
    for number in gone:
        queue.discard(items[number])
        queue.discard(items[number])
    taken = set()
    while batch := queue.take(0.0):
        taken |= {item.owner for item in batch}
    assert taken == set(range(len(items))) - gone
