import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from deployments.calls.group_commit import GroupCommit
from deployments.calls.request_work import CALL, REQUEST, RequestWork
from pipelines.engines.model_stage import Work
from pipelines.errors import EngineError, MunjangError

Result = SimpleNamespace | MunjangError


async def double(items: Sequence[str]) -> list[Result]:
    """A pipeline whose model makes a batch of twice the items of each call. It fails on an empty text."""
    call = CALL.get()
    assert call is not None
    call.work, call.tokenized_s = Work(0.5, 0.25, 2 * len(items), 0.125), 0.0625
    return [SimpleNamespace(tokens=len(item) + 2) if item else EngineError("x") for item in items]


def commit(max_items: int = 100) -> GroupCommit[str, SimpleNamespace]:
    return GroupCommit(double, max_calls=1, max_items=max_items, max_waiting=1000, weigh=len)


async def work_of(commit: GroupCommit[str, SimpleNamespace], items: Sequence[str]) -> RequestWork:
    """The work for a request with these items."""
    work = RequestWork()
    REQUEST.set(work)
    await commit.submit_each(items)
    return work


def test_a_request_knows_the_call_of_its_item() -> None:
    work = asyncio.run(work_of(commit(), ["abc"]))
    ((call, items, queue_s),) = work.calls
    assert (items, work.characters, work.tokens) == (1, 3, 5)
    assert call.work == (0.5, 0.25, 2, 0.125)
    assert call.tokenized_s == 0.0625
    assert 0.5 <= queue_s < 1


def test_requests_that_share_a_call_count_only_their_own_items() -> None:
    async def scenario() -> list[RequestWork]:
        shared = commit()
        running = asyncio.create_task(shared.submit("first"))
        await asyncio.sleep(0)
        works = asyncio.gather(*(asyncio.create_task(work_of(shared, items)) for items in (["a"], ["bc", "def"])))
        await running
        return await works

    one, other = asyncio.run(scenario())
    assert one.calls[0][0] is other.calls[0][0]
    assert one.calls[0][0].work.batch_items == 6
    assert [(work.calls[0][1], work.characters, work.tokens) for work in (one, other)] == [(1, 1, 3), (2, 5, 9)]


def test_a_list_has_the_calls_into_which_it_was_split() -> None:
    work = asyncio.run(work_of(commit(max_items=2), ["a", "b", "c"]))
    assert [(items, call.work.batch_items) for call, items, _ in work.calls] == [(2, 4), (1, 2)]
    assert [queue_s for _, _, queue_s in work.calls] == pytest.approx([1, 0.5], abs=0.2)


def test_an_item_that_failed_has_no_tokens() -> None:
    work = asyncio.run(work_of(commit(), ["abc", ""]))
    assert (work.calls[0][1], work.characters, work.tokens) == (2, 3, 5)


def test_work_that_nobody_asked_for_is_not_collected() -> None:
    async def scenario() -> SimpleNamespace:
        return await commit().submit("abc")

    assert asyncio.run(scenario()).tokens == 5
