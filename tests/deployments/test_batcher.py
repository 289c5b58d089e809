import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batcher import Batcher
from deployments.length_queue import Lane
from deployments.settings import BatchSettings
from pipelines.errors import EngineError, TooLarge
from pipelines.tokens import CheckpointRef, TokenBatch

POISON = 666
CHECKPOINT = CheckpointRef("digest", "bi-encoder", None)


def tokens(items: Sequence[Sequence[int]]) -> TokenBatch:
    ids = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=CHECKPOINT,
        ids=np.array(ids, dtype=np.int32),
        types=np.zeros(len(ids), dtype=np.uint8),
        lengths=np.array([len(item) for item in items], dtype=np.int32),
        truncated=np.zeros(len(items), dtype=np.bool_),
    )


class Sums:
    """A model whose row is (sum of ids, number of ids); a poisoned item fails the whole batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.starts = threading.Semaphore(0)
        self.release = threading.Event()
        self.release.set()

    def all_started(self, count: int) -> None:
        for _ in range(count):
            assert self.starts.acquire(timeout=10)

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        self.batches.append(batch.lengths.tolist())
        self.started.set()
        self.starts.release()
        assert self.release.wait(10)
        if POISON in batch.ids:
            raise ValueError("secret text")
        parts = np.split(batch.ids, batch.starts[1:-1])
        return np.array([[part.sum(), len(part)] for part in parts])


def batcher(model: Sums, max_tokens: int = 64, slots: int = 1) -> Batcher:
    """On batches that may take any time, lest a slow machine changes what they hold."""
    return Batcher(model.run, BatchSettings(max_tokens=max_tokens, target_batch_s=1000), slots=slots)


items_of_a_call = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=12), max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(items_of_a_call, max_size=6), st.integers(1, 40), st.integers(1, 3), st.data())
def test_every_caller_gets_its_own_rows_in_order(
    calls: list[list[list[int]]], max_tokens: int, slots: int, data: st.DataObject
) -> None:
    lanes = [data.draw(st.sampled_from(Lane)) for _ in calls]

    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens, slots)
        outcomes = await asyncio.gather(
            *(batching.submit(tokens(items), lane) for items, lane in zip(calls, lanes, strict=True))
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
def test_an_items_error_is_its_own(poisoned: list[list[bool]], slots: int) -> None:
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


def test_an_error_of_the_projects_own_arrives_as_it_was_raised() -> None:
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


async def busy(model: Sums, batching: Batcher) -> "asyncio.Task[Any]":
    """A first batch that holds the model thread until `model.release` is set."""
    model.release.clear()
    first = asyncio.create_task(batching.submit(tokens([[1]])))
    await asyncio.to_thread(model.started.wait, 10)
    return first


def test_arrivals_while_the_model_is_busy_form_one_next_batch() -> None:
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


def test_cancelled_callers_leave_the_queue() -> None:
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


def test_a_single_item_waits_for_no_more_than_the_running_batch_of_a_file() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, max_tokens=10)
        first = await busy(model, batching)
        file = asyncio.create_task(batching.submit(tokens([[5] * 5] * 50), Lane.BULK))
        single = asyncio.create_task(batching.submit(tokens([[7]])))
        await asyncio.sleep(0)
        model.release.set()
        await asyncio.gather(first, file, single)
        assert model.batches == [[1], [1], *[[5, 5]] * 25]

    asyncio.run(scenario())


def test_the_age_of_a_stuck_batch_is_told() -> None:
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


def test_a_lone_item_on_an_idle_model_runs_alone_and_at_once() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, slots=2)
        for _ in range(3):
            await batching.submit(tokens([[1, 2]]))
        assert model.batches == [[2]] * 3

    asyncio.run(scenario())


def test_the_next_batch_starts_while_the_event_loop_is_held_up() -> None:
    class Counts(Sums):
        def __init__(self) -> None:
            super().__init__()
            self.left = threading.Semaphore(0)

        def run(self, batch: TokenBatch) -> NDArray[Any]:
            rows = super().run(batch)
            self.left.release()
            return rows

    async def scenario() -> None:
        model = Counts()
        batching = batcher(model, max_tokens=5)
        first = await busy(model, batching)
        file = asyncio.create_task(batching.submit(tokens([[5] * 5] * 4), Lane.BULK))
        await asyncio.sleep(0)
        model.release.set()
        assert all(model.left.acquire(timeout=10) for _ in range(5))  # this holds the loop up
        assert not first.done()
        assert not file.done()
        assert len((await file).rows) == 4
        await first

    asyncio.run(scenario())


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_as_many_batches_run_at_once_as_the_model_has_slots(slots: int) -> None:
    together = threading.Barrier(slots)
    running: list[int] = []
    most: list[int] = []

    def run(batch: TokenBatch) -> NDArray[Any]:
        running.append(1)
        together.wait(10)
        most.append(len(running))
        together.wait(10)
        running.pop()
        return np.zeros(len(batch))

    async def scenario() -> None:
        batching = Batcher(run, BatchSettings(max_tokens=1), slots=slots)
        outcome = await batching.submit(tokens([[1]] * slots * 4))
        assert outcome.errors == {}
        assert set(most) == {slots}

    asyncio.run(scenario())


def test_what_waits_takes_half_as_long_on_two_slots() -> None:
    async def waiting_s(slots: int) -> float:
        model = Sums()
        batching = batcher(model, slots=slots)
        model.release.clear()
        running = [asyncio.create_task(batching.submit(tokens([[1] * 64]))) for _ in range(slots)]
        await asyncio.sleep(0)
        await asyncio.to_thread(model.all_started, slots)
        assert batching.waiting_s == 0
        waits = asyncio.create_task(batching.submit(tokens([[1] * 64] * 10)))
        await asyncio.sleep(0)
        seconds = batching.waiting_s
        model.release.set()
        await asyncio.gather(*running, waits)
        return seconds

    one, two = asyncio.run(waiting_s(1)), asyncio.run(waiting_s(2))
    assert one > 0
    assert two == pytest.approx(one / 2)


def test_a_caller_that_leaves_while_its_batch_runs_disturbs_no_other() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model)
        first = await busy(model, batching)
        leaves = asyncio.create_task(batching.submit(tokens([[2, 2]])))
        stays = asyncio.create_task(batching.submit(tokens([[3, 3]])))
        await asyncio.sleep(0)
        model.started.clear()
        model.release.set()
        await asyncio.to_thread(model.started.wait, 10)
        leaves.cancel()
        assert (await stays).rows.tolist() == [[6, 2]]
        await asyncio.gather(first, leaves, return_exceptions=True)
        assert model.batches == [[1], [2, 2]]

    asyncio.run(scenario())


def test_a_batch_that_outlives_its_event_loop_leaves_the_model_usable() -> None:
    model = Sums()
    batching = batcher(model)

    async def abandon() -> None:
        (await busy(model, batching)).cancel()

    asyncio.run(abandon())
    model.release.set()
    assert asyncio.run(batching.submit(tokens([[4, 5]]))).rows.tolist() == [[9, 2]]


def test_idle_model_threads_do_not_keep_the_process_alive() -> None:
    script = (
        "import asyncio\n"
        "from tests.deployments.test_batcher import Sums, batcher, tokens\n"
        "batching = batcher(Sums(), slots=2)\n"
        "print(asyncio.run(batching.submit(tokens([[1, 2]]))).rows.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[[3, 2]]\n"
