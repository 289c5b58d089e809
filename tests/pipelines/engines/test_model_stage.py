import asyncio
import pickle

import numpy as np
import pytest

from pipelines.engines.engine import Engine
from pipelines.engines.model_stage import PART_TOKENS, Outcome, finite, in_process, in_process_model
from pipelines.errors import EngineError
from pipelines.qa.spans import SPAN
from pipelines.text.token_batch import TokenBatch
from tests.pipelines.engines.batches import random_batch

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
FAILED = Outcome(ROWS, {1: EngineError("RuntimeError"), 3: EngineError("ValueError")})


def test_full_rows_have_zeros_for_failed_items() -> None:
    assert FAILED.full_rows().tolist() == [[1, 2], [0, 0], [3, 4], [0, 0]]
    assert FAILED.full_rows().dtype == np.float32
    assert Outcome(ROWS).full_rows() is ROWS


def test_if_all_items_failed_the_template_gives_the_shape_of_the_rows() -> None:
    outcome = Outcome(np.array([]), {0: EngineError("x"), 1: EngineError("x")})
    full = outcome.full_rows(np.empty((0, 3), dtype=np.int32))
    assert full.shape == (2, 3)
    assert full.dtype == np.int32


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (np.array([0, 2]), None),
        (np.array([2, 3]), "ValueError"),
        (np.array([3, 1]), "ValueError"),
        (slice(0, 2), "RuntimeError"),
        (slice(2, 3), None),
        (np.array([], dtype=np.int64), None),
    ],
)
def test_error_of_is_the_first_error_among_the_items(items: np.ndarray | slice, expected: str | None) -> None:
    error = FAILED.error_of(items)
    assert (error.args[0] if error else None) == expected


def test_an_outcome_stays_the_same_when_pickled() -> None:
    again = pickle.loads(pickle.dumps(FAILED))
    assert again.rows.tolist() == ROWS.tolist()
    assert {item: error.args for item, error in again.errors.items()} == {1: ("RuntimeError",), 3: ("ValueError",)}


def test_a_plain_function_becomes_a_stage() -> None:
    async def call() -> int:
        return await in_process(lambda a, b: a - b)(5, b=3)

    assert asyncio.run(call()) == 2


class FirstIds:
    """A model whose row for an item is its first id. Records the padded tokens of each batch."""

    engine: Engine

    def __init__(self) -> None:
        self.padded: list[int] = []

    def run(self, batch: TokenBatch) -> np.ndarray:
        self.padded.append(batch.mask.size)
        return batch.ids[batch.starts[:-1]]


@pytest.mark.parametrize("items", [1, 5, 300])
def test_a_model_of_this_process_runs_batches_of_any_size_in_parts_and_keeps_their_order(items: int) -> None:
    model = FirstIds()
    batch = random_batch([1 + 37 * item % 384 for item in range(items)], vocab_size=1000)
    outcome = asyncio.run(in_process_model(model)(batch))
    assert outcome.rows.tolist() == batch.ids[batch.starts[:-1]].tolist()
    assert max(model.padded) <= PART_TOKENS


def test_rows_with_nan_or_infinity_are_not_finite() -> None:
    rows = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]], dtype=np.float32)
    assert finite(rows).tolist() == [True, False, False]
    assert finite(rows[:, 0]).tolist() == [True, False, True]
    assert finite(rows[:0]).tolist() == []


def test_spans_that_a_window_lacks_do_not_make_it_wrong() -> None:
    spans = np.zeros((3, 2), dtype=SPAN)
    spans["score"] = [[0.5, -np.inf], [-np.inf, 1.0], [np.nan, 1.0]]
    assert finite(spans).tolist() == [True, False, False]
