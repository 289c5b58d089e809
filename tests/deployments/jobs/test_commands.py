"""The commands of `munjang jobs`, with a runner that the tests let take its steps."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from deployments.__main__ import main
from deployments.jobs import commands
from deployments.jobs.client import Job, JobsClient, connection
from pipelines.errors import ServerFailed
from pipelines.measure.server_client import KEY_VARIABLE
from tests.deployments.api.conftest import ScriptedServices, client, jobs_in
from tests.deployments.api.test_jobs import run
from tests.deployments.jobs.jobs import request_lines

__all__ = ["client"]

PAIRS = "sentence1,sentence2\n가나다라마바사,가\n 나,나\n,나\n"
UNKNOWN = f"batch_{32 * '0'}"


@pytest.fixture
def services(tmp_path: Path) -> ScriptedServices:
    return ScriptedServices(jobs=jobs_in(tmp_path / "jobs", rows_per_part=2))


@pytest.fixture(autouse=True)
def connected(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands talk to the app of the fixture."""

    @contextmanager
    def to_the_app(url: str) -> Iterator[TestClient]:
        yield client

    monkeypatch.setattr(commands, "connection", to_the_app)


@pytest.fixture
def munjang(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> "Munjang":
    return Munjang(monkeypatch, capfd)


class Munjang:
    """Runs commands as a user types them. `error` has what the last one wrote to standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._captured = monkeypatch, captured
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> list[str]:
        """The lines of its output."""
        self._monkeypatch.setattr(sys, "argv", ["munjang", "jobs", *words])
        assert main() == status
        output, self.error = self._captured.readouterr()
        return output.splitlines()

    def submit(self, folder: Path, content: bytes, *words: str) -> str:
        """Submit a file with this content, and return the id of the job."""
        path = folder / "rows.txt"
        path.write_bytes(content)
        (job,) = self("submit", str(path), *words)
        return job


def test_a_file_of_pairs_is_submitted_watched_and_read(
    munjang: Munjang, services: ScriptedServices, tmp_path: Path
) -> None:
    job = munjang.submit(tmp_path, PAIRS.encode())
    assert munjang("status", job) == ["validating: 0 of 0 rows have answers, 0 have errors"]
    assert munjang("results", job) == []
    run(services, 2)
    assert munjang("status", job) == ["in_progress: 2 of 3 rows have answers, 0 have errors"]
    so_far = munjang("results", job)
    assert [json.loads(line)["pred"] for line in so_far] == [1, 0]
    run(services)
    assert munjang("status", job, "--follow") == ["completed: 2 of 3 rows have answers, 1 have errors"]
    assert munjang("results", job) == so_far
    assert [json.loads(line)["line"] for line in munjang("results", job, "--errors")] == [4]
    munjang("results", job, "--output", str(tmp_path / "scores.jsonl"))
    assert (tmp_path / "scores.jsonl").read_text(encoding="utf-8").splitlines() == so_far


def test_requests_of_other_routes_are_submitted_with_their_endpoint(
    munjang: Munjang, services: ScriptedServices, tmp_path: Path
) -> None:
    job = munjang.submit(tmp_path, request_lines(7), "--endpoint", "/generate", "--window", "48h")
    run(services)
    assert munjang("status", job) == ["completed: 7 of 7 rows have answers, 0 have errors"]
    assert munjang("results", job, "--errors") == []


def test_a_job_that_fails_says_why_and_following_it_is_no_success(
    munjang: Munjang, services: ScriptedServices, tmp_path: Path
) -> None:
    job = munjang.submit(tmp_path, b"no,header\n")
    run(services)
    status, reason = munjang("status", job, "--follow", status=1)
    assert status == "failed: 0 of 0 rows have answers, 0 have errors"
    assert "sentence1" in reason


def test_a_cancelled_job_keeps_its_answers(munjang: Munjang, services: ScriptedServices, tmp_path: Path) -> None:
    job = munjang.submit(tmp_path, PAIRS.encode())
    run(services, 2)
    (line,) = munjang("cancel", job)
    assert line.startswith("cancelling: 2 of 3")
    run(services)
    assert len(munjang("results", job)) == 2


def test_errors_of_the_server_are_shown_in_its_words_and_make_no_file(munjang: Munjang, tmp_path: Path) -> None:
    munjang("results", UNKNOWN, "--output", str(tmp_path / "none"), status=1)
    assert "404" in munjang.error
    assert "batch" in munjang.error
    assert not (tmp_path / "none").exists()
    munjang("submit", str(tmp_path / "none"), status=1)
    assert "No such file" in munjang.error


def test_a_job_is_followed_over_a_restart_of_its_server(
    client: TestClient, services: ScriptedServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    jobs = JobsClient(client)
    job = jobs.submit(tmp_path / "pairs.csv", "/pred/file/", "24h")
    run(services)
    real, states = jobs._events, iter(["in_progress", "lost", "lost", "in_progress"])

    def events(job_id: str) -> Iterator[Job]:
        match next(states, "back"):
            case "in_progress":
                yield job | {"status": "in_progress"}
                raise ServerFailed("/", "the connection broke")
            case "lost":
                raise ServerFailed("/", "refused")
        yield from real(job_id)

    monkeypatch.setattr(jobs, "_events", events)
    monkeypatch.setattr("deployments.jobs.client.RETRY_EVERY_S", 0)
    assert [state["status"] for state in jobs.changes(job["id"])] == ["in_progress", "completed"]


def test_a_server_that_does_not_come_back_is_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = JobsClient(client)

    def events(job_id: str) -> Iterator[Job]:
        yield {"status": "in_progress"}
        raise ServerFailed("/", "the connection broke")

    monkeypatch.setattr(jobs, "_events", events)
    monkeypatch.setattr("deployments.jobs.client.RECONNECT_S", -1)
    with pytest.raises(ServerFailed):
        list(jobs.changes(UNKNOWN))


def test_the_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a-key-5f3a")
    with connection("http://127.0.0.1:1") as http:
        assert http.headers["Authorization"] == "Bearer a-key-5f3a"
    monkeypatch.delenv(KEY_VARIABLE)
    with connection("http://127.0.0.1:1") as http:
        assert "Authorization" not in http.headers
