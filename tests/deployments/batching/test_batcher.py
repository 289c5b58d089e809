import asyncio
import logging
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.batcher import Batcher
from deployments.batching.call import Call
from deployments.batching.latency_model import BatchCost
from deployments.batching.queue import Priority
from deployments.settings import BatchSettings
from pipelines.errors import EngineError, TooLarge
from pipelines.text.token_batch import TokenBatch
from tests.deployments.sums import POISON, Sums, batcher, busy, tokens

items_of_a_call = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=12), max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(items_of_a_call, max_size=6), st.integers(1, 40), st.integers(1, 3), st.data())
def test_every_call_gets_its_own_rows_in_order(
    calls: list[list[list[int]]], max_tokens: int, slots: int, data: st.DataObject
) -> None:
    priorities = [data.draw(st.sampled_from(Priority)) for _ in calls]

    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens, slots)
        outcomes = await asyncio.gather(
            *(batching.submit(tokens(items), priority) for items, priority in zip(calls, priorities, strict=True))
        )
        for items, outcome in zip(calls, outcomes, strict=True):
            assert outcome.rows.tolist() == [[sum(item), len(item)] for item in items]
            assert outcome.errors == {}
        for lengths in model.batches:
            assert len(lengths) == 1 or max(lengths) * len(lengths) <= max_tokens
        assert batching.waiting_tokens == 0

    asyncio.run(scenario())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5), st.integers(1, 3))
def test_only_the_item_at_fault_gets_an_error(poisoned: list[list[bool]], slots: int) -> None:
    async def scenario() -> None:
        batching = batcher(Sums(), slots=slots)
        calls = [tokens([[POISON] if bad else [1, 2] for bad in call]) for call in poisoned]
        outcomes = await asyncio.gather(*map(batching.submit, calls))
        for call, outcome in zip(poisoned, outcomes, strict=True):
            assert sorted(outcome.errors) == [i for i, bad in enumerate(call) if bad]
            assert outcome.rows.tolist() == [[3, 2] for bad in call if not bad]
            assert all(isinstance(error, EngineError) for error in outcome.errors.values())
            assert "secret" not in "".join(map(str, outcome.errors.values()))

    asyncio.run(scenario())


def test_items_that_are_no_more_than_the_free_threads_run_at_the_same_time() -> None:
    together = threading.Barrier(2)

    def run(batch: TokenBatch) -> NDArray[Any]:
        together.wait(30)  # raises BrokenBarrierError if the other thread gets no batch
        return np.full((len(batch), 1), len(batch))

    async def scenario() -> None:
        outcome = await Batcher(run, BatchSettings(), slots=2).submit(tokens([[1] * 17, [1] * 12]))
        assert not outcome.errors
        assert outcome.rows.tolist() == [[1], [1]]

    asyncio.run(scenario())


def test_a_thread_takes_all_that_waits_while_the_others_work() -> None:
    busy_with_one, go_on = threading.Event(), threading.Event()

    def run(batch: TokenBatch) -> NDArray[Any]:
        if batch.ids[0] == 1:
            busy_with_one.set()
            assert go_on.wait(30)
        return np.full((len(batch), 1), len(batch))

    async def scenario() -> None:
        batching = Batcher(run, BatchSettings(), slots=2)
        first = asyncio.ensure_future(batching.submit(tokens([[1]])))
        await asyncio.to_thread(busy_with_one.wait, 30)
        try:
            assert (await batching.submit(tokens([[2] * 3] * 4))).rows.tolist() == [[4]] * 4
        finally:
            go_on.set()
        assert (await first).rows.tolist() == [[1]]

    asyncio.run(scenario())


def test_the_projects_own_errors_are_not_converted() -> None:
    def refuse(batch: TokenBatch) -> NDArray[Any]:
        raise TooLarge("text", 3, "tokens")

    async def scenario() -> None:
        outcome = await Batcher(refuse, BatchSettings()).submit(tokens([[1]]))
        assert isinstance(outcome.errors[0], TooLarge)

    asyncio.run(scenario())


def test_a_model_that_returns_too_few_rows_is_an_error() -> None:
    async def scenario() -> None:
        batching = Batcher(lambda batch: np.zeros((0, 2)), BatchSettings())
        outcome = await batching.submit(tokens([[1], [2]]))
        assert sorted(outcome.errors) == [0, 1]

    asyncio.run(scenario())


def test_an_item_whose_row_is_not_finite_fails_alone() -> None:
    def overflowing(batch: TokenBatch) -> NDArray[Any]:
        rows = batch.lengths[:, None] * np.ones(3, dtype=np.float32)
        rows[batch.lengths == 2, 1] = np.nan
        rows[batch.lengths == 4, 2] = -np.inf
        return rows

    async def scenario() -> None:
        outcome = await Batcher(overflowing, BatchSettings()).submit(tokens([[1], [1, 1], [1] * 3, [1] * 4]))
        assert sorted(outcome.errors) == [1, 3]
        assert str(outcome.errors[1]) == "the model failed on this item (a result that is not finite)"
        assert outcome.rows.tolist() == [[1, 1, 1], [3, 3, 3]]

    asyncio.run(scenario())


def test_a_failed_batch_is_logged_once_with_its_place_and_shape_and_without_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "a secret"

    def fail(batch: TokenBatch) -> NDArray[Any]:
        raise RuntimeError(text)

    async def scenario() -> None:
        batching = Batcher(fail, BatchSettings(), name="tiny (onnx int8 on cpu)")
        for failed in (1, 2):
            await batching.submit(tokens([[1], [1] * 5, [1] * 3]))
            assert batching.failed_batches == failed

    asyncio.run(scenario())
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    message = records[1].getMessage()
    assert "tiny (onnx int8 on cpu) failed with RuntimeError on a batch of 3 items with 1 to 5 tokens" in message
    assert message.partition("\n")[0].endswith("failed batches since the start: 2")
    assert "in fail" in message
    assert text not in caplog.text


def test_items_that_arrive_while_the_model_is_busy_share_the_next_batch() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens=1000)
        first = await busy(model, batching)
        others = [asyncio.create_task(batching.submit(tokens([[2, i]]))) for i in range(20)]
        await asyncio.sleep(0)
        assert batching.waiting_tokens == 40
        model.release.set()
        await asyncio.gather(first, *others)
        assert model.batches == [[1], [2] * 20]

    asyncio.run(scenario())


def test_longer_items_that_came_later_do_not_go_before_the_oldest_call() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens=16)
        first = await busy(model, batching)
        calls = [asyncio.create_task(batching.submit(tokens([[1] * size] * 2))) for size in (2, 8, 4)]
        await asyncio.sleep(0)
        model.release.set()
        await asyncio.gather(first, *calls)
        assert model.batches == [[1], [4, 4, 2, 2], [8, 8]]

    asyncio.run(scenario())


def test_an_outcome_tells_how_long_its_items_waited_and_in_which_batch_they_were() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens=1000)
        first = await busy(model, batching)
        others = [asyncio.create_task(batching.submit(tokens(items))) for items in ([[2]], [[3] * 4, [4] * 4])]
        await asyncio.sleep(0.02)
        model.release.set()
        alone, *shared = [outcome.work for outcome in await asyncio.gather(first, *others)]
        assert (alone.batch_items, alone.padding) == (1, 0)
        assert alone.ran_s >= 0.02 > alone.waited_s
        for work in shared:  # 9 tokens in a batch of 3 items, padded to 4 tokens each
            assert (work.batch_items, work.padding) == (3, 0.25)
            assert work.waited_s >= 0.02

    asyncio.run(scenario())


def test_the_work_of_a_call_that_was_divided_is_the_mean_over_its_items() -> None:
    async def scenario() -> None:
        outcome = await batcher(Sums(), max_tokens=4).submit(tokens([[1, 1, 1, 1], [2, 2], [3, 3], [POISON]]))
        assert list(outcome.errors) == [3]
        assert outcome.work.batch_items == pytest.approx((1 + 2 + 2) / 3)

    asyncio.run(scenario())


def test_items_of_a_cancelled_call_leave_the_queue() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model)
        first = await busy(model, batching)
        stays = asyncio.create_task(batching.submit(tokens([[2, 2]])))
        leaves = asyncio.create_task(batching.submit(tokens([[3, 3, 3], [4]])))
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        model.release.set()
        await asyncio.gather(first, stays)
        assert model.batches == [[1], [2]]

    asyncio.run(scenario())


def test_an_interactive_item_waits_only_for_the_running_bulk_batch() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens=10)
        first = await busy(model, batching)
        file = asyncio.create_task(batching.submit(tokens([[5] * 5] * 50), Priority.BULK))
        single = asyncio.create_task(batching.submit(tokens([[7]])))
        await asyncio.sleep(0)
        model.release.set()
        await asyncio.gather(first, file, single)
        assert model.batches == [[1], [1], *[[5, 5]] * 25]

    asyncio.run(scenario())


def test_the_age_of_a_running_batch_is_reported() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model)
        assert batching.batch_age_s == 0
        first = await busy(model, batching)
        assert batching.batch_age_s > 0
        model.release.set()
        await first
        assert batching.batch_age_s == 0
        assert batching.seconds_busy > 0

    asyncio.run(scenario())


def test_sums_count_the_batches_that_succeeded_and_the_time_of_the_one_that_runs() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model)
        await batching.submit(tokens([[1, 2, 3], [1]]))
        await batching.submit(tokens([[POISON]]))
        done = batching.sums()
        assert (done.batches, done.items, done.tokens, done.padded) == (1, 2, 4, 6)
        model.started.clear()
        running = await busy(model, batching)
        assert batching.sums().busy_s > done.busy_s
        assert batching.sums()[1:] == done[1:]
        model.release.set()
        await running

    asyncio.run(scenario())


def test_a_token_of_padding_counts_as_much_as_it_costs() -> None:
    """Batches of 4 items of the same length, and of 4 items, three of which have a quarter of the longest's."""

    async def scenario() -> None:
        batching = Batcher(Sums().run, BatchSettings(), padding_cost=0.25)
        seen: list[float] = []
        batching._model.learn = lambda tokens, seconds: seen.append(tokens)  # type: ignore[method-assign]
        batching._model.cost = BatchCost(1.0, 0.001)  # a batch for each item would take long
        for items in ([[1] * 8] * 4, [[1] * 8, *[[1] * 2] * 3]):
            await batching.submit(tokens(items))
        assert seen == [32, 8 + 3 * 2 + 0.25 * 3 * 6]

    asyncio.run(scenario())


def test_batches_of_files_are_small_while_single_requests_come() -> None:
    async def scenario() -> None:
        batching = Batcher(Sums().run, BatchSettings(target_batch_s=0.1, small_bulk_batch_s=0.025))
        batching._model.cost = BatchCost(0.0, 0.001)  # a second for 1,000 tokens
        batching._working = 1  # so that no thread takes batches, too
        file, pair = Call(tokens([[1]] * 200)), Call(tokens([[1]]))
        batching._queue.add(file, file.batch.lengths, Priority.BULK, file.submitted_s)
        large = batching._next_batch()
        batching._queue.add(pair, pair.batch.lengths, Priority.INTERACTIVE, pair.submitted_s)
        batches = [large, batching._next_batch(), batching._next_batch()]
        assert [sum(len(items) for _, items in shares) for shares in batches] == [100, 1, 25]

    asyncio.run(scenario())
