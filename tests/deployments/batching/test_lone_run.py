import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.batcher import Batcher
from deployments.batching.lone_run import FIRST, TRIED_EVERY, LoneRun, Run
from deployments.settings import BatchSettings
from pipelines.text.token_batch import TokenBatch
from tests.deployments.sums import POISON, Sums, finish_loading, tokens

AFTER_FIRST = 2 * FIRST


def zeros(batch: TokenBatch) -> NDArray[Any]:
    return np.zeros(len(batch))


def loaded() -> LoneRun:
    """A LoneRun that has loaded its model."""
    lone = LoneRun(lambda: zeros)
    lone.chooses(1)
    finish_loading(lone)
    return lone


def run(lone: LoneRun, size: int, *, one: float, every: float) -> bool:
    """Let an item run that takes `one` second on one thread and `every` second on all; return whether it ran on all."""
    chosen = lone.chooses(size)
    lone.learn(size, every if chosen else one, all_threads=chosen)
    return chosen


def test_items_run_on_one_thread_until_the_model_is_loaded() -> None:
    go_on = threading.Event()

    def load() -> Any:
        assert go_on.wait(10)
        return Sums().run

    lone = LoneRun(load)
    assert [run(lone, 8, one=2, every=1) for _ in range(20)] == [False] * 20
    with pytest.raises(RuntimeError, match="not loaded"):
        lone.run(tokens([[1]]))
    go_on.set()
    finish_loading(lone)
    assert run(lone, 8, one=2, every=1)
    assert lone.run(tokens([[1, 2]])).tolist() == [[3, 2]]


def test_the_model_is_loaded_once_and_only_if_an_item_was_alone() -> None:
    loads: list[int] = []
    lone = LoneRun(lambda: loads.append(1) or zeros)
    assert not loads
    for size in (8, 8, 300):
        lone.chooses(size)
        finish_loading(lone)
    assert loads == [1]


def test_a_model_that_is_not_loaded_leaves_all_items_on_one_thread(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Any:
        raise MemoryError("no room")

    lone = LoneRun(load, "tiny (onnx int8 on cpu)")
    lone.chooses(8)
    finish_loading(lone)
    assert not any(run(lone, 8, one=2, every=1) for _ in range(40))
    assert caplog.text.count("tiny (onnx int8 on cpu) is not loaded again") == 1
    assert "no room" in caplog.text


@pytest.mark.parametrize(("one", "every"), [(2.0, 1.0), (1.0, 2.0)])
def test_both_ways_are_tried_equally_often_before_the_faster_is_taken(one: float, every: float) -> None:
    lone = loaded()
    first = [run(lone, 100, one=one, every=every) for _ in range(AFTER_FIRST)]
    assert sum(first) == FIRST
    later = [run(lone, 100, one=one, every=every) for _ in range(10 * TRIED_EVERY)]
    assert later.count(every < one) == len(later) - 10


def test_sizes_are_measured_apart() -> None:
    lone = loaded()
    for _ in range(AFTER_FIRST):
        run(lone, 12, one=1, every=2)
        run(lone, 384, one=2, every=1)
    assert (lone.chooses(15), lone.chooses(384)) == (False, True)
    assert not lone.chooses(64)  # of a size that has not run: first on one thread


def test_times_of_one_size_count_per_token() -> None:
    """In one way the items are twice as long as in the other, and take one and a half times as long."""
    lone = loaded()
    for _ in range(FIRST):
        lone.learn(64, 1.0, all_threads=False)
        lone.learn(127, 1.5, all_threads=True)
    assert lone.chooses(100)


def test_the_choice_follows_neighbours_that_take_the_cores() -> None:
    lone = loaded()
    for _ in range(AFTER_FIRST):
        run(lone, 384, one=2, every=1)
    with_neighbours = [run(lone, 384, one=2, every=4) for _ in range(2 * TRIED_EVERY)]
    assert with_neighbours[-TRIED_EVERY:].count(True) == 1
    without = [run(lone, 384, one=2, every=1) for _ in range(4 * TRIED_EVERY)]
    assert without[-TRIED_EVERY:].count(False) == 1


@given(st.lists(st.integers(0, 3 * TRIED_EVERY), max_size=1), st.integers(0, 4096))
def test_one_delayed_run_does_not_change_the_choice(delayed: list[int], size: int) -> None:
    lone = loaded()
    for number in range(AFTER_FIRST + 3 * TRIED_EVERY):
        factor = 10 if number in delayed else 1
        run(lone, size, one=2 * factor, every=factor)
    assert [run(lone, size, one=2, every=1) for _ in range(TRIED_EVERY)].count(False) == 1


def always_on_all_threads(run: Run) -> LoneRun:
    """A LoneRun that is loaded and chooses all threads for every item."""
    lone = LoneRun(lambda: run)
    lone._set_run()
    lone.chooses = lambda tokens: True  # type: ignore[method-assign]
    return lone


def test_an_item_that_is_alone_runs_on_all_threads() -> None:
    one, every = Sums(), Sums()

    async def scenario() -> None:
        batching = Batcher(one.run, BatchSettings(), lone=always_on_all_threads(every.run), slots=2)
        assert (await batching.submit(tokens([[1, 2]]))).rows.tolist() == [[3, 2]]

    asyncio.run(scenario())
    assert (one.batches, every.batches) == ([], [[2]])


@pytest.mark.parametrize("items", [[[1] * 3, [1] * 4], [[1] * 5] * 4])
def test_items_of_one_call_do_not_run_on_all_threads(items: list[list[int]]) -> None:
    one, every = Sums(), Sums()

    async def scenario() -> None:
        one.release.clear()
        batching = Batcher(one.run, BatchSettings(), lone=always_on_all_threads(every.run), slots=2)
        submitted = asyncio.create_task(batching.submit(tokens(items)))
        await asyncio.to_thread(one.all_started, 2 if len(items) == 2 else 1)  # two batches of one item, or one of four
        one.release.set()
        assert len((await submitted).rows) == len(items)

    asyncio.run(scenario())
    assert every.batches == []


def test_an_item_that_comes_while_another_runs_does_not_run_on_all_threads() -> None:
    one, every = Sums(), Sums()

    async def scenario() -> None:
        every.release.clear()
        batching = Batcher(one.run, BatchSettings(), lone=always_on_all_threads(every.run), slots=2)
        first = asyncio.create_task(batching.submit(tokens([[1] * 6])))
        await asyncio.to_thread(every.all_started, 1)
        assert (await batching.submit(tokens([[1] * 7]))).rows.tolist() == [[7, 7]]
        every.release.set()
        assert (await first).rows.tolist() == [[6, 6]]

    asyncio.run(scenario())
    assert (one.batches, every.batches) == ([[7]], [[6]])


def test_the_times_of_items_on_all_threads_do_not_count_for_batches() -> None:
    async def scenario() -> None:
        lone = always_on_all_threads(Sums().run)
        batching = Batcher(Sums().run, BatchSettings(), lone=lone, slots=2)
        before = batching._model.cost
        await batching.submit(tokens([[1] * 30]))
        assert batching._model.cost == before
        assert len(lone._ways(30)[True]) == 1
        await batching.submit(tokens([[1] * 30] * 3))
        assert batching._model.cost != before
        assert [len(times) for times in lone._ways(30)] == [0, 1]

    asyncio.run(scenario())


def test_a_lone_item_that_fails_on_all_threads_gets_an_error_and_no_time() -> None:
    async def scenario() -> None:
        lone = always_on_all_threads(Sums().run)
        batching = Batcher(Sums().run, BatchSettings(), lone=lone, slots=2)
        outcome = await batching.submit(tokens([[POISON]]))
        assert list(outcome.errors) == [0]
        assert [len(times) for times in lone._ways(1)] == [0, 0]
        assert (await batching.submit(tokens([[1]]))).rows.tolist() == [[1, 1]]

    asyncio.run(scenario())


def test_an_item_that_fails_on_all_threads_is_computed_on_one_like_all_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs: list[int] = []

    def broken(batch: TokenBatch) -> NDArray[Any]:
        runs.append(len(batch))
        raise MemoryError("secret text")

    async def scenario() -> None:
        lone = LoneRun(lambda: broken, "tiny")
        lone.chooses(2)
        finish_loading(lone)
        lone.learn(2, 1.0, all_threads=False)  # so that all threads are tried next
        batching = Batcher(Sums().run, BatchSettings(), lone=lone, slots=2)
        for _ in range(5):
            assert (await batching.submit(tokens([[1, 2]]))).rows.tolist() == [[3, 2]]

    asyncio.run(scenario())
    assert runs == [1]
    assert "tiny failed with MemoryError on all threads" in caplog.text
    assert "secret" not in caplog.text
