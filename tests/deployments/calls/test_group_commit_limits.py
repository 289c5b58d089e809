"""How many items may wait, and for how long."""

import asyncio
from collections.abc import Sequence

import pytest

from deployments.calls.group_commit import GroupCommit
from pipelines.errors import Overloaded
from tests.deployments.calls.test_group_commit import Gate, commit, settle


class Clock:
    """The time, which each call moves on by 0.1 s per item."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr("deployments.calls.group_commit.time.monotonic", lambda: self.now_s)

    async def call(self, items: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        self.now_s += 0.1 * len(items)
        return list(items)


def test_an_item_above_max_waiting_is_refused_with_a_time_to_retry() -> None:
    async def scenario() -> None:
        gate = Gate()
        group = commit(gate, max_waiting=3)
        tasks = [asyncio.create_task(group.submit(i)) for i in range(4)]
        await settle()
        with pytest.raises(Overloaded) as refusal:
            await group.submit(4)
        assert refusal.value.retry_after_s >= 1
        gate.open.set()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30]
        assert await group.submit(5) == 50

    asyncio.run(scenario())


def test_items_that_would_wait_too_long_are_refused_with_the_expected_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        clock = Clock(monkeypatch)
        group: GroupCommit[int, int] = GroupCommit(
            clock.call, max_calls=1, max_items=10, max_waiting=1000, max_wait_s=2.0, weigh=lambda _: 5
        )
        assert await group.submit_all(range(10)) == list(range(10))
        tasks = [asyncio.create_task(group.submit(i)) for i in range(100)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
        answered = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert answered == list(range(len(answered)))
        assert 20 <= len(answered) <= 40
        assert len(answered) + len(refused) == 100
        assert {refusal.retry_after_s for refusal in refused} == {3}
        assert await group.submit(7) == 7

    asyncio.run(scenario())


def test_a_few_small_items_do_not_make_long_ones_expected_to_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        clock = Clock(monkeypatch)
        group: GroupCommit[int, int] = GroupCommit(
            clock.call, max_calls=1, max_items=10, max_waiting=1000, max_wait_s=2.0, weigh=lambda item: item
        )
        await group.submit(1)
        assert await asyncio.gather(*map(group.submit, [1000] * 15)) == [1000] * 15

    asyncio.run(scenario())


def test_the_time_that_waiting_items_take_is_known_from_past_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        clock = Clock(monkeypatch)
        group: GroupCommit[int, int] = GroupCommit(clock.call, max_calls=1, max_items=10, max_waiting=1000)
        await group.submit_all(range(10))
        assert group.waiting_s == 0
        tasks = [asyncio.create_task(group.submit(i)) for i in range(25)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert group.waiting_s == pytest.approx(0.1 * len(group._waiting))
        await asyncio.gather(*tasks)
        assert group.waiting_s == 0

    asyncio.run(scenario())
