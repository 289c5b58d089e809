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

from pipelines.bulk.on_ray import Room, Work, part_scorer
from pipelines.bulk.output import ERRORS
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.resolve import ROOT, OutputOptions, resolve
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import read_manifest
from tests.conftest import MakeCheckpoint
from tests.pipelines.bulk.scoring import content_of, output_of, run_on
from tests.pipelines.checkpoints.damage import copy, edit_json
from tests.pipelines.training.test_on_ray import ENVIRONMENT

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


@contextmanager
def halfway(command: list[str], parts: Callable[[], list[Path]], more: int = 3) -> Iterator[psutil.Popen]:
    """Start the command, and yield its process when it has scored `more` parts. In the end all processes of its
    cluster are killed: the last of them would end a minute after the first."""
    wanted = len(parts()) + more
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with psutil.Popen(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, **output) as process:
        family = [process]
        try:
            wait_until(lambda: len(parts()) >= wanted or process.poll() is not None)
            family += process.children(recursive=True)
            yield process
        finally:
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family, TIMEOUT_S)


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


@pytest.mark.train
@pytest.mark.faults
def test_a_run_that_was_killed_goes_on_with_what_is_missing_and_the_death_of_a_worker_costs_no_row(
    command: list[str], parts: Callable[[], list[Path]], imported: MakeCheckpoint, tmp_path: Path
) -> None:
    with halfway(command, parts) as killed:
        killed.kill()
        killed.wait()
        before = {path: path.stat().st_mtime_ns for path in parts()}
        with halfway(command, parts) as again:
            workers = [child for child in again.children(recursive=True) if "MapWorker" in " ".join(child.cmdline())]
            assert workers
            workers[0].kill()
            output, errors = again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 0, errors
    assert 3 <= len(before) < len(parts())
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none was scored again
    assert f"of {ROWS:,} rows were done before" in errors
    assert output.splitlines()[-1] == f"2,999 rows scored; 1 set aside, see {tmp_path}/out/{ERRORS}"
    assert_all_rows_are_scored_once(tmp_path / "out", imported("classifier"))


@pytest.mark.usefixtures("untraced")
def test_a_worker_loads_a_checkpoint_as_the_user_described_its_outputs(
    checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("MUNJANG_CACHE", str(tmp_path / "cache")),
        ("TOKENIZERS_PARALLELISM", ""),
        ("RAYON_NUM_THREADS", "1"),
    ):
        monkeypatch.setenv(name, value)
    labelled = copy(checkpoint("classifier"), tmp_path / "labelled")
    edit_json(labelled / "config.json", id2label={"0": "GOOD", "1": "BAD"})
    path, out = tmp_path / "rows.jsonl", tmp_path / "out"
    path.write_text('{"passage": "The museum is open."}\n', encoding="utf-8")
    good = OutputOptions(positive_label="GOOD")
    manifest = read_manifest(resolve(str(labelled), "cola", good))
    run = run_on(path).model_copy(update={"digest": manifest.digest})
    output_of(run, out)
    work = Work(run, str(path), str(out), str(labelled), good, EngineSettings(device="cpu"))
    part_scorer(work, lambda *_: None).score(0)
    expected = asyncio.run(_results(resolve(str(labelled), "cola", good), ["The museum is open."]))
    assert json.loads(content_of(out))["prob"] == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize(
    ("there", "workers", "threads", "gpu", "expected"),
    [
        ({"CPU": 8.0}, None, 1, None, Room(8, 1, 0.0)),
        ({"CPU": 8.0}, None, 3, None, Room(2, 3, 0.0)),
        ({"CPU": 2.0}, None, 4, None, Room(1, 4, 0.0)),
        ({"CPU": 8.0}, 3, 2, None, Room(3, 2, 0.0)),
        ({"CPU": 8.0, "GPU": 2.0}, None, 1, None, Room(2, 1, 1.0)),
        ({"CPU": 8.0, "GPU": 2.0}, None, 1, False, Room(8, 1, 0.0)),
        ({"CPU": 8.0, "GPU": 2.0}, 5, 1, True, Room(5, 1, 1 / 3)),
        ({"CPU": 8.0}, None, 1, True, Room(1, 1, 1.0)),
    ],
)
def test_workers_fill_the_cluster(
    there: dict[str, float],
    workers: int | None,
    threads: int,
    gpu: bool | None,
    expected: Room,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    assert Room.of(workers, threads, gpu=gpu) == expected


@pytest.mark.parametrize(
    ("room", "warnings"),
    [
        (Room(2, 2, 0.0), []),
        (Room(3, 2, 0.0), ["3 workers need 6 CPUs; the cluster has 4"]),
        (Room(1, 1, 1.0), ["1 workers need 1 GPUs; the cluster has 0"]),
    ],
)
def test_too_small_a_cluster_is_logged(
    room: Room, warnings: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    room.warn_if_waiting()
    assert caplog.messages == warnings
