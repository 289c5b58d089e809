"""Real runs on Ray, each with a cluster and processes of its own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from pipelines.bulk.output import ERRORS
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.resolve import ROOT
from tests.conftest import MakeCheckpoint
from tests.pipelines.bulk.scoring import content_of
from tests.pipelines.training.test_on_ray import ENVIRONMENT

pytestmark = pytest.mark.train

TIMEOUT_S = 120
ROWS = 3000
BLANK = 1500
PASSAGES = [f"The {'museum ' * (number % 19)}is open {number}." if number != BLANK else " " for number in range(ROWS)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": number, "passage": passage}) for number, passage in enumerate(PASSAGES)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def command(rows: Path, tmp_path: Path, imported: MakeCheckpoint) -> list[str]:
    """The command that scores the rows in about 70 parts."""
    words = ["cola", str(rows), str(tmp_path / "out"), "--checkpoint", str(imported("classifier"))]
    return [sys.executable, "-m", "pipelines.bulk", *words, "--workers", "1", "--part-bytes", "4000"]


@pytest.fixture
def parts(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "out").glob("part-*"))


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **ENVIRONMENT}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)


@contextmanager
def halfway(command: list[str], parts: Callable[[], list[Path]]) -> Iterator[psutil.Popen]:
    """Start the command, and yield its process when it has scored some parts, but not all. All its processes end."""
    process = psutil.Popen(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL)
    family: list[psutil.Process] = []
    try:
        wait_until(lambda: len(parts()) >= 3 or process.poll() is not None)
        family = process.children(recursive=True)
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()
        _, alive = psutil.wait_procs(family, TIMEOUT_S)
        assert alive == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def assert_all_rows_are_scored_once(folder: Path, checkpoint: Path) -> None:
    """Assert that each row is there once, in order, with the result of the pipeline in this process."""
    scored = [json.loads(line) for line in content_of(folder).splitlines()]
    good = [number for number in range(ROWS) if number != BLANK]
    assert [row["id"] for row in scored] == good
    results = asyncio.run(_results(checkpoint, [PASSAGES[number] for number in good]))
    assert [row["prob"] for row in scored] == pytest.approx(results, abs=1e-5)
    errors = (folder / ERRORS).read_text(encoding="utf-8")
    assert json.loads(errors) == {"file": "", "line": BLANK + 1, "reason": "passage has no visible character"}


async def _results(checkpoint: Path, passages: list[str]) -> list[float]:
    pipeline = load_pipeline(checkpoint, "cola")
    return [result.probability for passage in passages for result in await pipeline([passage])]


def test_a_run_that_was_killed_goes_on_with_what_is_missing(
    command: list[str], parts: Callable[[], list[Path]], imported: MakeCheckpoint, tmp_path: Path
) -> None:
    with halfway(command, parts) as process:
        process.kill()
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in parts()}
    again = run(command)
    assert again.returncode == 0, again.stderr
    assert 3 <= len(before) < len(parts())
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none was scored again
    assert f"of {ROWS:,} rows were done before" in again.stderr
    assert again.stdout.splitlines()[-1] == f"2,999 rows scored; 1 set aside, see {tmp_path}/out/{ERRORS}"
    assert_all_rows_are_scored_once(tmp_path / "out", imported("classifier"))
    other = run([*command, "--keep", "id"])
    assert other.returncode == 1
    assert "belongs to another run, which differs in --keep" in other.stderr


def test_the_death_of_a_worker_costs_no_row(
    command: list[str], parts: Callable[[], list[Path]], imported: MakeCheckpoint, tmp_path: Path
) -> None:
    with halfway(command, parts) as process:
        workers = [child for child in process.children(recursive=True) if "MapWorker" in " ".join(child.cmdline())]
        assert workers
        workers[0].kill()
        assert process.wait(TIMEOUT_S) == 0
    assert_all_rows_are_scored_once(tmp_path / "out", imported("classifier"))
