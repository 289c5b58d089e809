from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.stage import POOL, Source, Stage

ROWS = st.lists(st.text(max_size=9), min_size=1, max_size=80)


def flat(batches: Sequence[Sequence[str]]) -> list[str]:
    return [row for batch in batches for row in batch]


@given(ROWS, st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_every_row_occurs_once_and_only_one_batch_is_smaller(
    rows: list[str], size: int, by_length: bool, seed: int
) -> None:
    batches = Stage.of(rows).batches(size, [seed], len if by_length else None)
    assert Counter(flat(batches)) == Counter(rows)
    assert len(batches) == -(-len(rows) // size)
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)


@given(ROWS, st.floats(0.01, 4))
def test_the_weight_is_the_number_of_times_that_rows_occur(rows: list[str], weight: float) -> None:
    numbered = [f"{number}" for number in range(len(rows))]
    stage = Stage([Source(numbered, weight=weight)])
    taken = Counter(flat(stage.batches(4, [0], None)))
    assert sum(taken.values()) == stage.rows_per_epoch == max(1, round(weight * len(rows)))
    counts = [taken[row] for row in numbered]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.text(min_size=1, max_size=60), min_size=64, max_size=200))
def test_rows_of_similar_length_are_batched_together(rows: list[str]) -> None:
    def padding(batches: Sequence[Sequence[str]]) -> int:
        return sum(max(map(len, batch)) * len(batch) - sum(map(len, batch)) for batch in batches)

    size = -(-len(rows) // POOL)  # all rows form one pool
    together = Stage.of(rows).batches(size, [0], len)
    spans = sorted((min(map(len, batch)), max(map(len, batch))) for batch in together)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert padding(together) <= padding(Stage.of(rows).batches(size, [0], None))


def test_sources_are_mixed_and_the_order_changes_with_the_seed() -> None:
    stage = Stage([Source(["a"] * 40), Source(["b"] * 40)])
    first, again, other = (stage.batches(8, [seed], None) for seed in (0, 0, 1))
    assert first == again != other
    assert all({"a", "b"} == set(batch) for batch in first)
