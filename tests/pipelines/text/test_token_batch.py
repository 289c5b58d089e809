import pickle
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text.token_batch import CheckpointRef, TokenBatch

REF = CheckpointRef("0123456789abcdef", "extractor", None)

sequences = st.lists(st.lists(st.integers(1, 2**31 - 1), min_size=0, max_size=9), max_size=6)


def make_batch(items: Sequence[Sequence[int]], *, regions: bool = False) -> TokenBatch:
    lengths = [len(item) for item in items]
    flat = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=REF,
        ids=np.array(flat, dtype=np.int32),
        types=np.array([token % 3 for token in flat], dtype=np.uint8),
        lengths=np.array(lengths, dtype=np.int32),
        truncated=np.array([length % 2 for length in lengths], dtype=np.bool_),
        regions=np.array([(0, length) for length in lengths], dtype=np.int32).reshape(-1, 2) if regions else None,
    )


def items_of(batch: TokenBatch) -> list[list[int]]:
    starts = batch.starts
    return [batch.ids[starts[i] : starts[i + 1]].tolist() for i in range(len(batch))]


@given(sequences)
def test_padding_follows_each_item_and_the_mask_marks_it(items: list[list[int]]) -> None:
    batch = make_batch(items)
    padded, mask = batch.padded_ids(-7), batch.mask
    longest = max(map(len, items), default=0)
    assert padded.shape == mask.shape == (len(items), longest)
    assert padded.tolist() == [item + [-7] * (longest - len(item)) for item in items]
    assert [row[kept].tolist() for row, kept in zip(padded, mask, strict=True)] == items
    assert batch.padded_types().tolist() == [[t % 3 for t in item] + [0] * (longest - len(item)) for item in items]


@given(st.lists(sequences.filter(bool), min_size=1, max_size=3), st.data(), st.booleans())
def test_take_returns_the_named_items_in_the_given_order(
    batches: list[list[list[int]]], data: st.DataObject, regions: bool
) -> None:
    made = [make_batch(items, regions=regions) for items in batches]
    places = [(b, i) for b, items in enumerate(batches) for i in range(len(items))]
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=12))
    taken = TokenBatch.take([(made[b], i) for b, i in chosen])
    expected = make_batch([batches[b][i] for b, i in chosen], regions=regions)
    assert_same(taken, expected)


@given(sequences.filter(bool), st.data(), st.booleans())
def test_select_returns_the_items_in_the_given_order(
    items: list[list[int]], data: st.DataObject, regions: bool
) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=12))
    selected = make_batch(items, regions=regions).select(np.array(numbers, dtype=np.intp))
    assert_same(selected, make_batch([items[number] for number in numbers], regions=regions))


@given(st.lists(sequences, min_size=1, max_size=4), st.booleans())
def test_batches_are_concatenated_in_order(batches: list[list[list[int]]], regions: bool) -> None:
    concatenated = TokenBatch.concatenate([make_batch(items, regions=regions) for items in batches])
    assert_same(concatenated, make_batch([item for items in batches for item in items], regions=regions))


@given(sequences, st.booleans())
def test_a_batch_stays_the_same_when_pickled(items: list[list[int]], regions: bool) -> None:
    batch = make_batch(items, regions=regions)
    assert_same(pickle.loads(pickle.dumps(batch)), batch)


def assert_same(one: TokenBatch, other: TokenBatch) -> None:
    assert one.checkpoint == other.checkpoint
    for name in ("ids", "types", "lengths", "truncated", "regions"):
        left, right = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert (left is None) == (right is None)
        assert left is None or left.dtype == right.dtype


def test_a_batch_may_have_no_items() -> None:
    empty = make_batch([])
    assert len(empty) == 0
    assert empty.starts.tolist() == [0]
    assert empty.mask.shape == (0, 0)


@given(sequences, st.integers(1, 30))
def test_batches_by_length_hold_every_item_once_within_the_budget(items: list[list[int]], budget: int) -> None:
    batch = make_batch(items)
    batches = [numbers.tolist() for numbers in batch.by_length(budget)]
    order = [number for numbers in batches for number in numbers]
    assert sorted(order) == list(range(len(items)))
    assert [len(items[number]) for number in order] == sorted(map(len, items), reverse=True)
    assert all(len(numbers) == 1 or len(items[numbers[0]]) * len(numbers) <= budget for numbers in batches)


@given(sequences)
def test_packing_takes_each_token_out_of_the_padded_array_and_puts_it_back(items: list[list[int]]) -> None:
    batch = make_batch(items)
    padded = batch.padded_ids(-1)
    places, rows = batch.packing()
    packed = padded.ravel()[places]
    assert packed[packed >= 0].tolist() == [token for item in items for token in item]
    assert len(packed) == sum(max(len(item), padded.shape[1] > 0) for item in items)
    np.testing.assert_array_equal(packed[rows][batch.mask], padded[batch.mask])
