import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.bulk.batches import MOST_FAILURES, BatchedModel
from pipelines.engines.model_stage import Outcome
from pipelines.errors import EngineError, InvalidInput, StageFailed
from pipelines.text.token_batch import CheckpointRef, TokenBatch

REF = CheckpointRef("digest", "bi-encoder", 0.6)
Model = Callable[[TokenBatch], NDArray[Any]]


def batch_of(lengths: list[int]) -> TokenBatch:
    """Items of these lengths; all tokens of an item are its number."""
    ids = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    return TokenBatch(
        checkpoint=REF,
        ids=ids,
        types=np.zeros(len(ids), dtype=np.uint8),
        lengths=np.array(lengths, dtype=np.int32),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )


def first_ids(batch: TokenBatch) -> NDArray[np.float32]:
    """(items, 2): the number of each item, twice."""
    return np.stack([batch.ids[batch.starts[:-1]]] * 2, axis=1).astype(np.float32)


def failing_on(items: set[int], error: Exception) -> Model:
    def run(batch: TokenBatch) -> NDArray[Any]:
        rows = first_ids(batch)
        if items.intersection(rows[:, 0].astype(int).tolist()):
            raise error
        return rows

    return run


def outcome(run: Model, batch: TokenBatch, budget: int = 16) -> Outcome:
    return asyncio.run(BatchedModel(run, budget)(batch))


LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=30)


@given(lengths=LENGTHS, budget=st.integers(1, 60))
def test_items_run_in_batches_within_the_budget_and_keep_their_order(lengths: list[int], budget: int) -> None:
    seen: list[TokenBatch] = []

    def run(batch: TokenBatch) -> NDArray[np.float32]:
        seen.append(batch)
        return first_ids(batch)

    result = outcome(run, batch_of(lengths), budget)
    assert result.errors == {}
    assert result.rows[:, 0].tolist() == list(range(len(lengths)))
    assert all(len(batch) == 1 or int(batch.lengths.max()) * len(batch) <= budget for batch in seen)
    assert sum(map(len, seen)) == len(lengths)


@given(lengths=LENGTHS, bad=st.sets(st.integers(0, 29), max_size=5))
def test_only_the_items_at_fault_fail(lengths: list[int], bad: set[int]) -> None:
    bad &= set(range(len(lengths)))
    result = outcome(failing_on(bad, ValueError("a text")), batch_of(lengths), 100)
    assert set(result.errors) == bad
    assert all(isinstance(error, EngineError) and error.args == ("ValueError",) for error in result.errors.values())
    assert (
        result.rows[:, 0].tolist() == [item for item in range(len(lengths)) if item not in bad]
        if len(bad) < len(lengths)
        else not len(result.rows)
    )


def test_an_error_of_the_project_stays_as_it_is() -> None:
    error = InvalidInput()
    assert outcome(failing_on({1}, error), batch_of([3, 4])).errors == {1: error}


def test_a_row_that_is_not_finite_is_a_failure_of_its_item() -> None:
    def run(batch: TokenBatch) -> NDArray[np.float32]:
        rows = first_ids(batch)
        rows[rows == 2] = np.nan
        return rows

    result = outcome(run, batch_of([5, 5, 5, 5]), 100)
    assert {item: error.args for item, error in result.errors.items()} == {2: ("a result that is not finite",)}
    assert result.rows[:, 0].tolist() == [0, 1, 3]


def test_a_model_that_returns_too_few_rows_fails() -> None:
    result = outcome(lambda batch: first_ids(batch)[1:], batch_of([3, 4]))
    assert {error.args for error in result.errors.values()} == {("wrong number of rows",)}


def test_an_engine_that_fails_on_every_item_ends_the_run() -> None:
    everything = set(range(MOST_FAILURES))
    with pytest.raises(StageFailed, match=r"the model failed \(RuntimeError\)"):
        outcome(failing_on(everything, RuntimeError()), batch_of([2] * MOST_FAILURES))
    result = outcome(failing_on(everything - {5}, RuntimeError()), batch_of([2] * MOST_FAILURES))
    assert set(result.errors) == everything - {5}
