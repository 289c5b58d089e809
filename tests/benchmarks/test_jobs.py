import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from starlette.testclient import TestClient

from benchmarks import jobs
from benchmarks.jobs import UPLOAD_BYTES, ended, endless, finish, peaks, submit, write_pairs
from benchmarks.own_server import munjang
from benchmarks.processes import MIB
from deployments.jobs.client import JobsClient
from deployments.serve_config import read_config
from tests.deployments.api.conftest import ScriptedServices, client, jobs_in
from tests.deployments.api.test_jobs import run

__all__ = ["client"]

PAIRS = [("가, 나", '"다"'), ("라", "마"), ("바", "사")]
URL = "http://localhost"


@pytest.fixture
def services(tmp_path: Path) -> ScriptedServices:
    return ScriptedServices(jobs=jobs_in(tmp_path / "jobs", rows_per_part=2))


@pytest.fixture
def job(client: TestClient, services: ScriptedServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job with `PAIRS`, which has ended."""

    @contextmanager
    def to_the_app(url: str) -> Iterator[TestClient]:
        yield client

    monkeypatch.setattr(jobs, "connection", to_the_app)
    job = submit(URL, write_pairs(tmp_path / "pairs.csv", PAIRS))
    run(services)
    return job


def test_the_pairs_that_are_written_are_the_rows_of_the_job(job: str, client: TestClient) -> None:
    assert finish(URL, job)["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    rows = [json.loads(line) for line in b"".join(JobsClient(client).results(job, errors=False)).splitlines()]
    assert [(row["sentence1"], row["sentence2"]) for row in rows] == PAIRS


@pytest.mark.parametrize(
    ("lines", "lost", "twice"), [(None, 0, 0), ([2, 3], 1, 0), ([2, 3, 4, 4], 0, 1), ([2, 2, 2], 2, 2)]
)
def test_rows_that_are_lost_or_there_twice_are_counted(
    job: str, monkeypatch: pytest.MonkeyPatch, lines: list[int] | None, lost: int, twice: int
) -> None:
    if lines is not None:
        content = "".join(f'{{"line": {line}}}\n' for line in lines).encode()
        monkeypatch.setattr(JobsClient, "results", lambda self, job_id, errors: iter([content]))
    figures = asyncio.run(ended(URL, job, 0.0, 0.0, pairs_per_s=1.0))
    assert (figures["rows"], figures["rows_lost"], figures["rows_twice"]) == (3, lost, twice)


def test_the_large_file_has_its_size() -> None:
    pairs = iter([("가" * 1_000_000, "나")] * 99)
    size = sum(len(f"{left}\t{right}\n".encode()) for left, right in endless(pairs))
    assert UPLOAD_BYTES - 3_000_010 < size <= UPLOAD_BYTES


def test_memory_is_sampled_within_the_context() -> None:
    with peaks({"own": psutil.Process()}) as seen:
        low, _ = seen["own"]
        held = np.ones(64 * MIB, dtype=np.uint8)
        while seen["own"][1] < low + 32 * MIB:
            pass
        assert held[-1] == 1
    assert seen["own"][0] == low


def test_the_server_of_a_benchmark_has_no_cache_and_keeps_its_files_apart(tmp_path: Path) -> None:
    command = munjang("checkpoints/sts", 8123, tmp_path)
    config = read_config(Path(command.arguments[-1]))
    (application,) = config["applications"]
    assert application["args"]["sts"]["cache_bytes"] == 0
    assert application["args"]["jobs"]["folder"].startswith(str(tmp_path))
    assert config["http_options"]["port"] == 8123
