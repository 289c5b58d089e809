"""Jobs from their file to their results, with scripted models and a clock that stands still."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.jobs import endpoints
from deployments.jobs.records import Job
from deployments.jobs.storage import NewFile
from deployments.settings import JobSettings
from pipelines.errors import Conflict, EngineError, StageUnavailable, StorageFull, UnknownId
from tests.deployments.jobs.conftest import MakeDatabase
from tests.deployments.jobs.jobs import Place, request_lines


@pytest.fixture
def place(tmp_path: Path, make_database: MakeDatabase) -> Place:
    return Place(tmp_path, database=make_database(tmp_path))


def custom_ids(place: Place, job: Job) -> list[str]:
    """Those of the answers, and then those of the errors."""
    return [line["custom_id"] for file in (job.output_file_id, job.error_file_id) for line in place.lines(file)]


def test_each_request_gets_the_answer_of_its_route_in_the_order_of_the_file(place: Place) -> None:
    job = place.ended(place.submit(request_lines(8)))
    assert (job.status, job.total, job.completed, job.failed) == ("completed", 8, 8, 0)
    answers = place.lines(job.output_file_id)
    assert [one["custom_id"] for one in answers] == [f"row {number}" for number in range(8)]
    assert answers[3]["response"]["status_code"] == 200
    assert answers[3]["response"]["body"] == {"prob": 0.25}
    assert len({one["id"] for one in answers}) == 8
    assert job.error_file_id is None


def test_texts_are_embedded_as_by_the_route_of_openai(place: Place) -> None:
    body = {"input": ["가"], "model": "sts", "encoding_format": "float"}
    line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}).encode()
    job = place.ended(place.submit(line, "/v1/embeddings"))
    (answer,) = place.lines(job.output_file_id)
    assert answer["response"]["body"]["data"][0]["embedding"] == pytest.approx([0.6, -0.8])
    assert answer["response"]["body"]["usage"]["total_tokens"] == 1


def test_a_bad_request_is_an_error_of_its_own_line(place: Place) -> None:
    content = request_lines(4).replace(b'"Passage 2"', b'" "')
    job = place.ended(place.submit(content))
    assert (job.status, job.completed, job.failed) == ("completed", 3, 1)
    (error,) = place.lines(job.error_file_id)
    assert error["custom_id"] == "row 2"
    assert error["response"]["status_code"] == 422
    assert error["response"]["body"]["error"]["param"] == "passage"


def test_a_row_on_which_the_model_fails_does_not_fail_its_neighbours(place: Place) -> None:
    def answer(passage: str) -> Any:
        raise EngineError("ValueError") if passage == "Passage 1" else StageUnavailable("ColaClassifier")

    place.services.cola.answer = answer  # type: ignore[attr-defined]
    job = place.ended(place.submit(request_lines(3)))
    statuses = {one["custom_id"]: one["response"]["status_code"] for one in place.lines(job.error_file_id)}
    assert statuses == {"row 0": 503, "row 1": 500, "row 2": 503}


def test_a_row_is_tried_again_while_the_models_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "FIRST_PAUSE_S", 0.01)
    tries = iter([StageUnavailable("a"), StageUnavailable("a"), None])

    async def call() -> str:
        if error := next(tries):
            raise error
        return "answer"

    assert asyncio.run(endpoints.patiently(call, 10)) == "answer"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json_line"),
        (b"[]", "invalid_json_line"),
        (b'{"custom_id": "row 0", "method": "POST", "url": "/generate", "body": {}}', "duplicate_custom_id"),
        (b'{"custom_id": "", "method": "POST", "url": "/generate", "body": {}}', "invalid_custom_id"),
        (b'{"custom_id": "\\ud800", "method": "POST", "url": "/generate", "body": {}}', "invalid_json_line"),
        (b'{"custom_id": "x", "method": "GET", "url": "/generate", "body": {}}', "invalid_method"),
        (b'{"custom_id": "x", "method": "POST", "url": "/api", "body": {}}', "mismatched_endpoint"),
        (b'{"custom_id": "x", "method": "POST", "url": "/generate", "body": "x"}', "invalid_body"),
        (b'{"custom_id": "x", "custom_id": "y", "method": "POST"}', "invalid_json_line"),
    ],
)
def test_a_file_with_a_wrong_line_fails_before_anything_is_scored(place: Place, line: bytes, code: str) -> None:
    job = place.ended(place.submit(request_lines(2) + b"\n" + line))
    assert job.status == "failed"
    (fault,) = job.faults
    if b"ud800" not in line:
        assert (fault.code, fault.line) == (code, 4)
    assert place.services.cola.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"x" * 2000])
def test_a_file_without_rows_or_with_an_endless_line_fails(place: Place, content: bytes) -> None:
    assert place.ended(place.submit(content)).status == "failed"
    assert place.ended(place.submit(content, "/pred/file/")).status == "failed"


PAIRS = {
    "json": b'{"results": [{"idx": 1, "sentence1": "a, b", "sentence2": "c"}, {"sentence1": " ", "sentence2": "d"}]}',
    "jsonl": b'{"idx": 1, "sentence1": "a, b", "sentence2": "c"}\n{"sentence1": " ", "sentence2": "d"}\n',
    "csv": b'\xef\xbb\xbfidx,sentence1,sentence2\r\n1,"a, b",c\r\n2, ,d\r\n',
    "tsv": b"idx\tsentence1\tsentence2\n1\ta, b\tc\n2\t \td\n",
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_scored_in_every_format_and_a_blank_sentence_is_an_error(place: Place, name: str) -> None:
    job = place.ended(place.submit(PAIRS[name], "/pred/file/"))
    assert (job.status, job.completed, job.failed) == ("completed", 1, 1)
    (answer,) = place.lines(job.output_file_id)
    assert {"sentence1": "a, b", "sentence2": "c", "score": 0.4, "pred": 0}.items() <= answer.items()
    assert str(answer["idx"]) == "1"
    (error,) = place.lines(job.error_file_id)
    assert error["error"]["code"] == "blank"
    assert error["line"] == {"json": 2, "jsonl": 2, "csv": 3, "tsv": 3}[name]


def test_a_cell_with_a_line_break_is_never_cut(place: Place) -> None:
    rows = "".join(f'"{number}\n{number}",b\n' for number in range(10))
    job = place.ended(place.submit(f"sentence1,sentence2\n{rows}".encode(), "/pred/file/"))
    answers = place.lines(job.output_file_id)
    assert [one["sentence1"] for one in answers] == [f"{number}\n{number}" for number in range(10)]
    assert [one["line"] for one in answers] == list(range(2, 22, 2))


def test_a_cancelled_job_keeps_its_results_and_has_an_error_for_every_other_row(place: Place) -> None:
    job = place.submit(request_lines(8))
    runner = place.runner()
    asyncio.run(runner.step())
    asyncio.run(runner.step())
    assert place.ledger.cancel("", job.id).status == "cancelling"
    job = place.ended(job)
    assert (job.status, job.completed, job.failed) == ("cancelled", 3, 5)
    assert custom_ids(place, job) == [f"row {number}" for number in range(8)]
    assert {one["error"]["code"] for one in place.lines(job.error_file_id)} == {"batch_cancelled"}
    with pytest.raises(Conflict):
        place.ledger.cancel("", job.id)


def test_a_job_that_is_cancelled_before_it_began_has_no_files(place: Place) -> None:
    job = place.submit(request_lines(2))
    place.ledger.cancel("", job.id)
    job = place.ended(job)
    assert (job.status, job.output_file_id, job.error_file_id) == ("cancelled", None, None)


def test_a_job_expires_with_its_results_so_far(place: Place) -> None:
    job = place.submit(request_lines(5))
    runner = place.runner()
    asyncio.run(runner.step())
    asyncio.run(runner.step())
    place.now_s += 3601
    job = place.ended(job)
    assert (job.status, job.completed, job.failed) == ("expired", 3, 2)
    assert {one["error"]["code"] for one in place.lines(job.error_file_id)} == {"batch_expired"}


def test_a_part_that_kills_its_runner_again_and_again_becomes_errors(place: Place) -> None:
    job = place.submit(request_lines(2))
    asyncio.run(place.runner().step())
    for _ in range(5):
        assert place.ledger.claim_part() is not None
        place.now_s += place.settings.lease_s + 1
    job = place.ended(job)
    assert {one["error"]["code"] for one in place.lines(job.error_file_id)} == {"part_failed"}


def test_jobs_take_turns(place: Place) -> None:
    first, second = place.submit(request_lines(30)), place.submit(request_lines(3))
    for _ in range(2):
        asyncio.run(place.runner().step())
    claimed = [claim.job.id for _ in range(2) if (claim := place.ledger.claim_part())]
    assert claimed == [first.id, second.id]


def test_expired_files_and_old_jobs_are_deleted_with_their_bytes(place: Place) -> None:
    job = place.ended(place.submit(request_lines(3)))
    place.now_s += 40 * 86_400
    asyncio.run(place.runner()._clean())
    with pytest.raises(UnknownId):
        place.ledger.job("", job.id)
    assert place.ledger.files("", None, 10) == []
    left = [path.name for path in place.folder.rglob("*") if path.is_file()]
    assert {name.partition("-")[0] for name in left} <= {"jobs.sqlite"}


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs."""


class Fragile:
    """Passes calls on to an object, and dies before or after the one with the number in `kills`."""

    def __init__(self, target: Any, counter: list[int], kills: dict[int, bool]) -> None:
        self._target, self._counter, self._kills = target, counter, kills

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._counter[0] += 1
            late = self._kills.get(self._counter[0])
            if late is False:
                raise Killed
            result = found(*args, **kwargs)
            if late is True:
                if isinstance(result, NewFile):
                    result._file.close()  # as a kill does
                raise Killed
            return result

        return call


@settings(max_examples=40)
@given(
    rows=st.integers(1, 11),
    kills=st.dictionaries(st.integers(1, 60), st.booleans(), max_size=6),
    cancel_at=st.none() | st.integers(1, 40),
)
def test_no_row_is_lost_or_there_twice_whenever_runners_are_killed(
    tmp_path_factory: pytest.TempPathFactory,
    make_database: MakeDatabase,
    rows: int,
    kills: dict[int, bool],
    cancel_at: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    place = Place(folder, database=make_database(folder))
    job = place.submit(request_lines(rows).replace(b'"Passage 1"', b'" "'))
    counter = [0]

    async def until_killed() -> bool:
        runner = place.runner(*(Fragile(one, counter, kills) for one in (place.ledger, place.storage)))
        while await runner.step():
            if (
                cancel_at is not None
                and counter[0] >= cancel_at
                and place.ledger.job("", job.id).status == "in_progress"
            ):
                place.ledger.cancel("", job.id)
        return True

    for _ in range(len(kills) + 1):
        try:
            asyncio.run(until_killed())
        except Killed:
            place.now_s += place.settings.lease_s + 1
    job = place.ended(job)
    assert job.status in ("completed", "cancelled")
    assert sorted(custom_ids(place, job)) == sorted(f"row {number}" for number in range(rows))
    assert job.completed + job.failed == job.total == rows


def test_what_a_runner_computed_after_it_had_lost_its_claim_is_not_recorded(place: Place) -> None:
    job = place.submit(request_lines(3))
    asyncio.run(place.runner().step())
    slow = place.ledger.claim_part()
    assert slow is not None
    place.now_s += place.settings.lease_s + 1
    job = place.ended(job)
    asyncio.run(place.runner()._part(slow))
    assert place.ledger.renew([slow.token]) == set()
    assert custom_ids(place, place.ledger.job("", job.id)) == ["row 0", "row 1", "row 2"]
    assert len(list((place.folder / "results" / job.id).iterdir())) == 1


@pytest.mark.parametrize("recorded_first", [True, False])
def test_of_two_runners_with_one_part_only_the_later_claim_counts(place: Place, recorded_first: bool) -> None:
    job = place.submit(request_lines(6))
    asyncio.run(place.runner().step())
    slow = place.ledger.claim_part()
    place.now_s += place.settings.lease_s + 1
    quick = place.ledger.claim_part()
    assert slow is not None
    assert quick is not None
    assert slow.part == quick.part
    for claim in (quick, slow) if recorded_first else (slow, quick):
        asyncio.run(place.runner()._part(claim))
    assert place.ledger.job("", job.id).completed == 3
    (_, scored), *others = place.ledger.done_parts(job.id)
    assert (scored.token, others) == (quick.token, [])
    assert custom_ids(place, place.ended(job)) == [f"row {number}" for number in range(6)]


def test_a_full_disk_delays_a_job_and_does_not_damage_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    job = place.submit(request_lines(3))
    asyncio.run(place.runner().step())
    with monkeypatch.context() as full:
        full.setattr("deployments.jobs.storage.os.fsync", _no_space)
        with pytest.raises(StorageFull):
            asyncio.run(place.runner().step())
    assert place.ledger.job("", job.id).status == "in_progress"
    job = place.ended(job)
    assert (job.status, job.completed) == ("completed", 3)
    assert not list(place.folder.rglob("*.partial"))


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_jobs_work_in_an_object_store(tmp_path: Path) -> None:
    from deployments.jobs.storage import Storage

    place = Place(tmp_path, JobSettings(rows_per_part=2))
    place.storage = Storage(f"memory://{tmp_path.name}")
    job = place.ended(place.submit(request_lines(5)))
    assert custom_ids(place, job) == [f"row {number}" for number in range(5)]
    assert json.loads(place.storage.read(f"manifests/{job.output_file_id}.json"))["pieces"]
