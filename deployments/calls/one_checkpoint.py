"""Answers to many items, all of one checkpoint, also while an update replaces it."""

import asyncio
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from deployments.calls.group_commit import GroupCommit
from deployments.calls.remote import UPDATE_PAUSE_S
from pipelines.errors import CheckpointsMixed

ROUNDS = 40  # 10 s at least, and a request's deadline ends them, too


class Made(Protocol):
    """A result that says what made it."""

    @property
    def checkpoint(self) -> str:
        """The checkpoint's digest."""


Item = TypeVar("Item")
Result = TypeVar("Result", bound=Made)


class OneCheckpoint(Generic[Item, Result]):
    """A group commit whose answer to many items is one checkpoint's.

    Many items go in many calls, and during an update some are answered by old replicas and some by new ones. Those of
    another checkpoint than the last one's are then submitted again. Where nobody answers with that any more, what
    answers now is the one to wait for: so it ends as soon as the update does, and mostly before.
    """

    def __init__(self, group_commit: GroupCommit[Item, Result]) -> None:
        self._group_commit = group_commit

    async def submit(self, item: Item) -> Result:
        """As the group commit does: one item is in one call."""
        return await self._group_commit.submit(item)

    async def submit_all(self, items: Sequence[Item]) -> list[Result]:
        """As the group commit does. Raises CheckpointsMixed after `ROUNDS`."""
        latest = results = await self._group_commit.submit_all(items)
        wanted = None
        for _ in range(ROUNDS):
            wanted = _still_answering(wanted, latest)
            others = [number for number, result in enumerate(results) if result.checkpoint != wanted]
            if not others:
                return results
            await asyncio.sleep(UPDATE_PAUSE_S)
            latest = await self._group_commit.submit_all([items[number] for number in others])
            for number, result in zip(others, latest, strict=True):
                results[number] = result
        raise CheckpointsMixed


def _still_answering(wanted: str | None, latest: Sequence[Made]) -> str | None:
    """`wanted`, or the last one's checkpoint where none of the latest results is of it."""
    checkpoints = [result.checkpoint for result in latest]
    return checkpoints[-1] if checkpoints and wanted not in checkpoints else wanted
