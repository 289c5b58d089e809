"""Answer many items with one checkpoint, even while a rolling update replaces it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from deployments.calls.group_commit import GroupCommit
from deployments.calls.remote import UPDATE_PAUSE_S
from pipelines.errors import CheckpointsMixed, MunjangError

ROUNDS = 40  # at least 10 s with UPDATE_PAUSE_S between them; a request's deadline may end them sooner


class HasCheckpoint(Protocol):
    """A result that names the checkpoint which computed it."""

    @property
    def checkpoint(self) -> str:
        """The checkpoint's digest."""


Item = TypeVar("Item")
Result = TypeVar("Result", bound=HasCheckpoint)
Outcome = TypeVar("Outcome", bound=HasCheckpoint | MunjangError)


class OneCheckpoint(Generic[Item, Result]):
    """A group commit whose results for one list of items all come from the same checkpoint.

    A long list takes several calls. During a rolling update old replicas may answer some of them and new replicas the
    others. The checkpoint of the last result is the wanted one, and items with another checkpoint are submitted again.
    If no new result has the wanted checkpoint, the checkpoint of the last new result replaces it. So the rounds end
    with the update at the latest, and usually earlier.
    """

    def __init__(self, group_commit: GroupCommit[Item, Result]) -> None:
        self._group_commit = group_commit

    async def submit(self, item: Item) -> Result:
        """Return the item's result. One item is always in one call."""
        return await self._group_commit.submit(item)

    async def submit_all(self, items: Sequence[Item]) -> list[Result]:
        """Return results in the items' order. Raises the first error, or CheckpointsMixed after `ROUNDS`."""
        return await _of_one_checkpoint(self._group_commit.submit_all, items)

    async def submit_each(self, items: Sequence[Item]) -> list[Result | MunjangError]:
        """The same, with the error of an item that is at fault in place of its result."""
        return await _of_one_checkpoint(self._group_commit.submit_each, items)


async def _of_one_checkpoint(
    submit: Callable[[Sequence[Item]], Awaitable[list[Outcome]]], items: Sequence[Item]
) -> list[Outcome]:
    latest = results = await submit(items)
    wanted = None
    for _ in range(ROUNDS):
        wanted = _wanted_checkpoint(wanted, latest)
        others = [number for number, result in enumerate(results) if _checkpoint(result) not in (wanted, None)]
        if not others:
            return results
        await asyncio.sleep(UPDATE_PAUSE_S)
        latest = await submit([items[number] for number in others])
        for number, result in zip(others, latest, strict=True):
            results[number] = result
    raise CheckpointsMixed


def _checkpoint(result: HasCheckpoint | MunjangError) -> str | None:
    return None if isinstance(result, MunjangError) else result.checkpoint


def _wanted_checkpoint(wanted: str | None, latest: Sequence[HasCheckpoint | MunjangError]) -> str | None:
    """Return `wanted`, or the checkpoint of the last result if no result in `latest` has `wanted`."""
    checkpoints = [checkpoint for result in latest if (checkpoint := _checkpoint(result)) is not None]
    return checkpoints[-1] if checkpoints and wanted not in checkpoints else wanted
