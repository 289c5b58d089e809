"""The batcher's model threads: idle, in parallel, and while the event loop is blocked."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.batching.batcher import Batcher
from deployments.batching.queue import Priority
from deployments.settings import BatchSettings
from pipelines.text.token_batch import TokenBatch
from tests.deployments.sums import Sums, batcher, busy, tokens


def test_a_single_item_on_an_idle_model_runs_at_once() -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, slots=2)
        for _ in range(3):
            await batching.submit(tokens([[1, 2]]))
        assert model.batches == [[2]] * 3

    asyncio.run(scenario())


def test_the_next_batch_starts_while_the_event_loop_is_blocked() -> None:
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
        file = asyncio.create_task(batching.submit(tokens([[5] * 5] * 4), Priority.BULK))
        await asyncio.sleep(0)
        model.release.set()
        assert all(model.left.acquire(timeout=10) for _ in range(5))  # blocks the event loop
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


def test_the_estimated_time_of_waiting_items_halves_with_two_slots() -> None:
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


def test_cancelling_a_call_while_its_batch_runs_does_not_affect_others() -> None:
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
        "from tests.deployments.batching.test_batcher import Sums, batcher, tokens\n"
        "batching = batcher(Sums(), slots=2)\n"
        "print(asyncio.run(batching.submit(tokens([[1, 2]]))).rows.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[[3, 2]]\n"
