import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.cache import RowCache
from deployments.batching.queue import Priority
from pipelines.engines.model_stage import NO_WORK, Outcome, Work
from pipelines.errors import EngineError
from pipelines.text.token_batch import CheckpointRef, TokenBatch

POISON = 666
DIMENSIONS = 8
INTERACTIVE, BULK = Priority


def tokens(items: Sequence[Sequence[int]], kinds: int = 0) -> TokenBatch:
    ids = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=CheckpointRef("digest", "bi-encoder", None),
        ids=np.array(ids, dtype=np.int32),
        types=np.full(len(ids), kinds, dtype=np.uint8),
        lengths=np.array([len(item) for item in items], dtype=np.int32),
        truncated=np.zeros(len(items), dtype=np.bool_),
    )


def row_of(item: Sequence[int], scalar: bool = False) -> Any:
    return float(sum(item)) if scalar else [float(sum(item))] * DIMENSIONS


class Model:
    """Computes rows that identify their items, and records the items. A poisoned item fails."""

    def __init__(self, scalar: bool = False) -> None:
        self.computed: list[list[int]] = []
        self._scalar = scalar

    async def submit(self, batch: TokenBatch, priority: Priority) -> Outcome:
        items = [part.tolist() for part in np.split(batch.ids, batch.starts[1:-1])]
        self.computed += items
        rows = [row_of(item, self._scalar) for item in items if POISON not in item]
        errors = {number: EngineError("ValueError") for number, item in enumerate(items) if POISON in item}
        return Outcome(np.array(rows, dtype=np.float32), errors, Work(batch_items=len(items)))


def complete(
    cache: RowCache, model: Model, items: Sequence[Sequence[int]], priority: Priority = INTERACTIVE
) -> Outcome:
    return asyncio.run(cache.complete(tokens(items), priority, model.submit))


item_of_a_call = st.lists(st.sampled_from([1, 2, 3, POISON]), min_size=1, max_size=3)
calls_with_priorities = st.lists(st.tuples(st.lists(item_of_a_call, min_size=1, max_size=8), st.sampled_from(Priority)))


@given(calls_with_priorities, st.integers(0, 6000), st.booleans())
def test_outcomes_are_those_of_the_model_with_any_size_of_cache(
    calls: list[tuple[list[list[int]], Priority]], max_bytes: int, scalar: bool
) -> None:
    cache, model = RowCache(max_bytes), Model(scalar)
    for items, priority in calls:
        outcome = complete(cache, model, items, priority)
        assert outcome.rows.tolist() == [row_of(item, scalar) for item in items if POISON not in item]
        assert sorted(outcome.errors) == [number for number, item in enumerate(items) if POISON in item]
        assert cache.info()["bytes"] <= max_bytes


def test_equal_items_are_computed_once_across_calls_and_priorities() -> None:
    cache, model = RowCache(100_000), Model()
    complete(cache, model, [[1, 2], [3]])
    complete(cache, model, [[3], [1, 2], [4]], BULK)
    complete(cache, model, [[4]])
    assert model.computed == [[1, 2], [3], [4]]
    assert {name: count for name, count in cache.info().items() if name != "bytes"} == {"hits": 3, "misses": 3}


def test_the_work_is_that_of_the_items_that_were_computed() -> None:
    cache, model = RowCache(100_000), Model()
    assert complete(cache, model, [[1, 2], [3]]).work.batch_items == 2
    assert complete(cache, model, [[1, 2], [4]]).work.batch_items == 1
    assert complete(cache, model, [[1, 2], [4]]).work is NO_WORK


def test_items_with_other_segment_ids_or_boundaries_are_different() -> None:
    cache, model = RowCache(100_000), Model()
    complete(cache, model, [[1, 2], [3]])
    complete(cache, model, [[1], [2, 3]])
    asyncio.run(cache.complete(tokens([[3]], kinds=1), INTERACTIVE, model.submit))
    assert model.computed == [[1, 2], [3], [1], [2, 3], [3]]


def test_errors_are_not_cached() -> None:
    cache, model = RowCache(100_000), Model()
    for _ in range(2):
        assert list(complete(cache, model, [[1], [POISON]]).errors) == [1]
    assert model.computed == [[1], [POISON], [POISON]]


def test_the_least_recently_used_rows_are_removed() -> None:
    cache, model = RowCache(6_000), Model()
    complete(cache, model, [[1]])
    for item in range(2, 40):
        complete(cache, model, [[item], [1]])
    assert [1] not in model.computed[1:]
    complete(cache, model, [[2]])
    assert model.computed[-1] == [2]


def test_a_file_does_not_displace_rows_of_interactive_requests() -> None:
    cache, model = RowCache(40_000), Model()
    interactive = [[item] for item in range(20)]
    complete(cache, model, interactive)
    for start in range(1000, 3000, 100):
        complete(cache, model, [[item] for item in range(start, start + 100)], BULK)
    model.computed.clear()
    complete(cache, model, interactive)
    assert model.computed == []
    complete(cache, model, [[2999]], BULK)  # the last rows of the file are cached, too
    assert model.computed == []


def test_a_row_larger_than_the_cache_is_returned_but_not_cached() -> None:
    cache, model = RowCache(100), Model()
    for _ in range(2):
        assert complete(cache, model, [[1]]).rows.tolist() == [row_of([1])]
    assert model.computed == [[1], [1]]
    assert cache.info()["bytes"] == 0


def test_changing_a_returned_row_does_not_change_the_cache() -> None:
    cache, model = RowCache(100_000), Model()
    for _ in range(3):
        rows: NDArray[Any] = complete(cache, model, [[1]]).rows
        assert rows.tolist() == [row_of([1])]
        rows[:] = 0


def test_an_error_of_the_batcher_itself_reaches_the_caller() -> None:
    async def refuse(batch: TokenBatch, priority: Priority) -> Outcome:
        raise EngineError("lost")

    with pytest.raises(EngineError):
        asyncio.run(RowCache(100_000).complete(tokens([[1]]), INTERACTIVE, refuse))
