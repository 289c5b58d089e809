import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.calls import one_checkpoint
from deployments.calls.group_commit import GroupCommit
from deployments.calls.one_checkpoint import ROUNDS, OneCheckpoint
from pipelines.errors import CheckpointsMixed

CALL = 10  # items


@dataclass(frozen=True)
class Result:
    item: int
    checkpoint: str


class Replicas:
    """Answers each call with the next checkpoint of a script, and after its end with the last one."""

    def __init__(self, script: Sequence[str]) -> None:
        self._script = script
        self.calls: list[list[int]] = []

    async def __call__(self, items: Sequence[int]) -> list[Result]:
        checkpoint = self._script[min(len(self.calls), len(self._script) - 1)]
        self.calls.append(list(items))
        return [Result(item, checkpoint) for item in items]


def submit(replicas: Replicas, count: int) -> list[Result]:
    group_commit: GroupCommit[int, Result] = GroupCommit(replicas, max_calls=1, max_items=CALL, max_waiting=1000)
    return asyncio.run(OneCheckpoint(group_commit).submit_all(range(count)))


@pytest.fixture(autouse=True, scope="module")
def _without_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_checkpoint, "UPDATE_PAUSE_S", 0)
        yield


@settings(deadline=None)
@given(st.lists(st.sampled_from(["old", "new"]), max_size=30), st.integers(0, 95))
def test_all_results_are_of_one_checkpoint_in_any_update(script: list[str], count: int) -> None:
    results = submit(Replicas([*script, "new"]), count)
    assert [result.item for result in results] == list(range(count))
    assert len({result.checkpoint for result in results}) <= 1


def test_only_items_answered_by_the_old_checkpoint_are_submitted_again() -> None:
    replicas = Replicas(["old", "old", "new"])
    assert {result.checkpoint for result in submit(replicas, 50)} == {"new"}
    assert replicas.calls[5:] == [list(range(10)), list(range(10, 20))]


def test_the_wanted_checkpoint_changes_once_no_new_result_has_it() -> None:
    replicas = Replicas(["old", "new", "old", "new"])
    assert {result.checkpoint for result in submit(replicas, 30)} == {"new"}
    assert replicas.calls[3:] == [list(range(10, 20)), list(range(10)), list(range(20, 30))]


def test_without_an_update_each_item_is_submitted_once() -> None:
    replicas = Replicas(["old"])
    submit(replicas, 95)
    assert len(replicas.calls) == 10
    assert submit(Replicas(["old"]), 0) == []


def test_two_checkpoints_that_both_stay_raise_checkpoints_mixed() -> None:
    with pytest.raises(CheckpointsMixed):
        submit(Replicas(["old", "new"] * 2 * ROUNDS), 20)
