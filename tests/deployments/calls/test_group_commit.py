import asyncio
import contextvars
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.calls.group_commit import GroupCommit
from pipelines.errors import EngineError, StageUnavailable


class Gate:
    """A call that records its batches and returns once `open` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.cancelled = 0
        self.open = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [EngineError("odd") if item < 0 else item * 10 for item in items]


def commit(call: Gate, **limits: int) -> GroupCommit[int, int]:
    return GroupCommit(call, **{"max_calls": 1, "max_items": 100, "max_waiting": 1000} | limits)


async def settle() -> None:
    """Let all tasks run that can run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_idle_system_sends_an_item_at_once_and_alone() -> None:
    async def scenario() -> None:
        gate = Gate()
        task = asyncio.create_task(commit(gate).submit(1))
        await settle()
        assert gate.batches == [[1]]
        gate.open.set()
        assert await task == 10

    asyncio.run(scenario())


def test_items_that_arrive_while_all_calls_are_in_flight_share_the_next_call() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate, max_calls=2)
        tasks = [asyncio.create_task(group.submit(i)) for i in range(2)]
        await settle()
        tasks += [asyncio.create_task(group.submit(i)) for i in range(2, 60)]
        await settle()
        assert gate.batches == [[0], [1]]
        gate.open.set()
        assert await asyncio.gather(*tasks) == [i * 10 for i in range(60)]
        assert gate.batches[2:] == [list(range(2, 60))]

    asyncio.run(scenario())


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(1, 4), st.integers(1, 7), st.integers(1, 30))
def test_results_keep_order_and_calls_keep_their_limits(
    items: list[int], max_calls: int, max_items: int, max_weight: int
) -> None:
    async def scenario() -> None:
        gate = Gate()
        gate.open.set()
        group = GroupCommit(
            gate,
            max_calls=max_calls,
            max_items=max_items,
            max_waiting=1000,
            max_weight=max_weight,
            weigh=lambda item: item % 20,
        )
        assert await group.submit_all(items) == [item * 10 for item in items]
        assert [item for batch in gate.batches for item in batch] == items
        for batch in gate.batches:
            assert len(batch) <= max_items
            assert len(batch) == 1 or sum(item % 20 for item in batch) <= max_weight

    asyncio.run(scenario())


def test_an_error_of_one_item_does_not_affect_the_others() -> None:
    async def scenario() -> None:
        gate = Gate()
        gate.open.set()
        results = await asyncio.gather(*map(commit(gate).submit, [1, -2, 3]), return_exceptions=True)
        assert results[0::2] == [10, 30]
        assert isinstance(results[1], EngineError)

    asyncio.run(scenario())


def test_a_call_that_raises_fails_its_items_and_the_next_call_is_made() -> None:
    async def scenario() -> None:
        calls = 0

        async def failing_once(items: Sequence[int]) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError
            return list(items)

        group: GroupCommit[int, int] = GroupCommit(failing_once, max_calls=1, max_items=9, max_waiting=9)
        with pytest.raises(RuntimeError):
            await group.submit(1)
        assert await group.submit(2) == 2

    asyncio.run(scenario())


def test_a_cancelled_item_is_not_sent() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate)
        tasks = [asyncio.create_task(group.submit(i)) for i in range(4)]
        await settle()
        tasks[2].cancel()
        await settle()
        gate.open.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.batches == [[0], [1, 3]]

    asyncio.run(scenario())


def test_a_call_is_cancelled_once_all_its_items_are_withdrawn() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate)
        tasks = [asyncio.create_task(group.submit(i)) for i in range(3)]
        await settle()
        tasks[0].cancel()
        await settle()
        assert gate.cancelled == 1
        assert gate.batches == [[0], [1, 2]]
        tasks[1].cancel()
        await settle()
        assert gate.cancelled == 1
        gate.open.set()
        assert await tasks[2] == 20

    asyncio.run(scenario())


def test_withdrawn_items_take_no_place_in_the_queue() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate, max_waiting=3)
        tasks = [asyncio.create_task(group.submit(i)) for i in range(4)]
        await settle()
        for task in tasks[1:]:
            task.cancel()
        await settle()
        late = asyncio.create_task(group.submit(9))
        await settle()
        gate.open.set()
        assert await late == 90
        assert gate.batches == [[0], [9]]

    asyncio.run(scenario())


def test_a_call_does_not_run_in_the_context_of_a_request() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

    async def scenario() -> None:
        seen = []

        async def call(items: Sequence[int]) -> list[int]:
            seen.append(request.get())
            await asyncio.sleep(0)
            return list(items)

        async def ask(number: int) -> int:
            request.set(f"request {number}")
            return await group.submit(number)

        group: GroupCommit[int, int] = GroupCommit(call, max_calls=1, max_items=2, max_waiting=99)
        assert await asyncio.gather(*map(ask, range(8))) == list(range(8))
        assert set(seen) == {"none"}

    asyncio.run(scenario())


def test_items_of_a_call_that_is_cancelled_from_outside_get_an_error() -> None:
    async def scenario() -> None:
        async def cancelled(items: Sequence[int]) -> list[int]:
            raise asyncio.CancelledError

        group: GroupCommit[int, int] = GroupCommit(cancelled, max_calls=1, max_items=9, max_waiting=9)
        outcomes = await asyncio.wait_for(
            asyncio.gather(*map(group.submit, range(3)), return_exceptions=True), timeout=10
        )
        assert [type(outcome) for outcome in outcomes] == [StageUnavailable] * 3

    asyncio.run(scenario())


def test_a_short_list_does_not_wait_for_all_items_of_a_long_list() -> None:
    async def scenario() -> None:
        gate = Gate()
        gate.open.set()
        group = commit(gate, max_items=10)
        many = asyncio.create_task(group.submit_all(list(range(1000))))
        await settle()
        assert await group.submit_all([5000]) == [50_000]
        assert not many.done()
        assert await many == [item * 10 for item in range(1000)]
        assert any(5000 in batch for batch in gate.batches[:10])

    asyncio.run(scenario())


def test_a_second_long_list_is_admitted_while_the_first_is_in_progress() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate, max_items=10, max_waiting=100)
        first, second = (asyncio.create_task(group.submit_all(list(range(100)))) for _ in range(2))
        await settle()
        gate.open.set()
        assert await first == await second == [item * 10 for item in range(100)]

    asyncio.run(scenario())


def test_a_group_commit_that_gives_way_sends_fewer_and_smaller_calls_while_the_other_is_in_use() -> None:
    async def scenario() -> None:
        singles, files = Gate(), Gate()
        singles.open.set()
        other = commit(singles)
        giving_way = GroupCommit(files, max_calls=2, max_items=8, max_waiting=100, gives_way_to=other)
        await other.submit(1)
        task = asyncio.create_task(giving_way.submit_all(range(8)))
        await settle()
        assert files.batches == [[0, 1]]
        files.open.set()
        assert await task == [i * 10 for i in range(8)]
        assert files.batches[1:] == [[2, 3], [4, 5], [6, 7]]

    asyncio.run(scenario())


def test_a_group_commit_sends_full_calls_while_the_one_it_gives_way_to_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        singles, files = Gate(), Gate()
        singles.open.set()
        other = commit(singles)
        giving_way = GroupCommit(files, max_calls=2, max_items=4, max_waiting=100, gives_way_to=other)
        await other.submit(1)
        monkeypatch.setattr("deployments.calls.group_commit.RECENT_S", 0.0)
        task = asyncio.create_task(giving_way.submit_all(range(8)))
        await settle()
        assert files.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
        files.open.set()
        await task

    asyncio.run(scenario())


def test_submit_each_returns_the_errors_of_items_and_raises_those_of_the_server() -> None:
    async def call(items: Sequence[int]) -> list[int | Exception]:
        kinds: dict[int, Exception] = {1: EngineError("ValueError"), 2: StageUnavailable("StsEncoder")}
        return [kinds.get(item, item) for item in items]

    async def run() -> None:
        commit = GroupCommit[int, int](call, max_calls=1, max_items=8, max_waiting=8)
        good, bad, other = await commit.submit_each([0, 1, 5])
        assert (good, type(bad), other) == (0, EngineError, 5)
        with pytest.raises(StageUnavailable):
            await commit.submit_each([0, 2])

    asyncio.run(run())
