"""What replicas report for the picture of the graph."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from deployments import reports
from deployments.calls.group_commit import GroupCommit
from deployments.reports import RECENT_S, CallReports, Recent, Sums


class Clock:
    now_s = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reports, "time", SimpleNamespace(monotonic=lambda: clock.now_s, process_time=lambda: 0.0))
    return clock


def test_shares_and_means_are_those_since_the_last_question_and_sums_those_since_the_start(clock: Clock) -> None:
    sums = [Sums(0, 0, 0), Sums(1, 2, 8, 60, 80), Sums(5, 3, 108, 110, 130)]
    recent = Recent(lambda: sums[0], threads=2)
    sums.pop(0)
    clock.now_s += 10
    first = recent.report(requests=4, waiting=7)
    assert (first["busy"], first["mean_batch"], first["padding"]) == (1 / 20, 4, 0.25)
    assert (first["batches"], first["items"], first["requests"], first["waiting"]) == (2, 8, 4, 7)
    sums.pop(0)
    clock.now_s += 10
    second = recent.report(requests=5)
    assert (second["busy"], second["mean_batch"], second["padding"]) == (4 / 20, 100, 0)
    assert (second["batches"], second["items"]) == (3, 108)


def test_many_questions_in_a_short_time_do_not_shorten_the_time_that_is_reported(clock: Clock) -> None:
    recent = Recent(lambda: Sums(max(0.0, (clock.now_s - 100) / 2), 0, 0))
    for _ in range(40):
        clock.now_s += RECENT_S / 10
        assert recent.report(requests=0)["busy"] == pytest.approx(0.5)
    assert len(recent._past) <= 12


def test_without_a_batch_there_is_no_mean(clock: Clock) -> None:
    report = Recent(lambda: Sums(0, 3, 30)).report(requests=0)
    assert (report["mean_batch"], report["padding"], report["busy"]) == (None, None, 0)


def test_time_that_the_clock_does_not_resolve_is_no_more_than_all_the_time(clock: Clock) -> None:
    sums = [Sums(0, 0, 0)]
    recent = Recent(lambda: sums[0])
    sums[0] = Sums(1, 0, 0)
    assert recent.report(requests=0)["busy"] == 1


def test_a_caller_reports_each_call_of_a_group_commit_for_tokenizer_and_model() -> None:
    async def call(items: Sequence[int]) -> Sequence[int | Exception]:
        return items

    async def scenario() -> None:
        singles, files, questions = (GroupCommit(call, max_calls=1, max_items=2, max_waiting=9) for _ in range(3))
        caller = CallReports({"StsEncoder": [singles, files], "QaExtractor": [questions]})
        await singles.submit(1)
        await files.submit_all([1, 2, 3])
        report = caller.report(requests=2, calls={"PersonaChat": 5})
        assert report["calls"] == {
            "StsTokenizer": 3,
            "StsEncoder": 3,
            "QaTokenizer": 0,
            "QaExtractor": 0,
            "PersonaChat": 5,
        }
        assert (report["requests"], report["batches"], report["items"], report["waiting"]) == (2, 3, 4, 0)

    asyncio.run(scenario())


def test_a_caller_reports_the_items_that_wait() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def call(items: Sequence[int]) -> Sequence[int | Exception]:
            await gate.wait()
            return items

        group: GroupCommit[int, int] = GroupCommit(call, max_calls=1, max_items=2, max_waiting=9)
        tasks = [asyncio.create_task(group.submit(item)) for item in range(4)]
        await asyncio.sleep(0)
        assert CallReports({"StsEncoder": [group]}).report(requests=0)["waiting"] == 3
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
