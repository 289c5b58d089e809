"""The items of one request, each with its own result or error."""

from collections.abc import Sequence
from typing import Generic

from deployments.calls.group_commit import GroupCommit
from deployments.calls.one_checkpoint import Item, OneCheckpoint, Result
from pipelines.errors import MunjangError

FEW = 8


class Lists(Generic[Item, Result]):
    """Up to `FEW` items go with the single requests. A longer list gives way to them.

    few   the group commit of interactive priority
    many  the one of bulk priority
    """

    def __init__(self, few: GroupCommit[Item, Result], many: GroupCommit[Item, Result]) -> None:
        self._few = OneCheckpoint(few)
        self._many = OneCheckpoint(many)

    async def submit_each(self, items: Sequence[Item]) -> list[Result | MunjangError]:
        """Return a result or error for each item, in order, all results from the same checkpoint.

        Raises Overloaded, and other errors that are no item's fault.
        """
        return await (self._few if len(items) <= FEW else self._many).submit_each(items)
