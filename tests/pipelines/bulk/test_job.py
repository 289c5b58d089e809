from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.bulk import job
from pipelines.bulk.job import Request
from pipelines.bulk.run import Finished
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointUnsupported, DataError, OutputTaken
from tests.conftest import MakeCheckpoint
from tests.pipelines.bulk.scoring import output_of, score_all
from tests.pipelines.checkpoints.damage import copy, edit_json

Begin = Callable[[Request], job.Run]


@pytest.fixture
def request_(tmp_path: Path, served: MakeCheckpoint) -> Request:
    """A request for 20 rows, in parts of two rows."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"passage": "Passage {number:02}."}}\n' for number in range(20)), encoding="utf-8")
    return Request("cola", str(path), str(tmp_path / "out"), str(served("shipped cola")), part_bytes=50)


def run_of(request: Request) -> job.Run:
    return job.run_of(request, job.Files.of(job.Location.of(request.input)), request.part_bytes or 0)


def test_a_finished_run_is_not_run_again(request_: Request) -> None:
    finished = score_all(run_of(request_), request_.input, request_.output).finish()
    assert job.complete(request_) == finished == Finished(scored=20, set_aside=0)
    assert job.complete(replace(request_, part_bytes=None, workers=7, threads=3)) == finished


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"keep": ("passage",)}, "--keep"),
        ({"engine": EngineSettings(backend="torch")}, "--engine"),
        ({"part_bytes": 60}, "--part-bytes"),
        ({"columns": {"passage": "text"}}, "--columns"),
    ],
)
def test_other_options_are_refused_before_ray_starts(request_: Request, change: dict[str, object], named: str) -> None:
    output_of(run_of(request_), request_.output)
    with pytest.raises(OutputTaken, match=named):
        job.complete(replace(request_, **change))  # type: ignore[arg-type]


def test_another_input_is_refused_before_ray_starts(request_: Request) -> None:
    output_of(run_of(request_), request_.output)
    path = Path(request_.input)
    path.write_text(path.read_text(encoding="utf-8").replace("07", "70"), encoding="utf-8")
    with pytest.raises(OutputTaken, match="the input"):
        job.complete(request_)


def test_what_does_not_fit_the_task_is_refused(request_: Request, served: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported, match="a checkpoint for cola, not for sts"):
        run_of(replace(request_, task="sts"))
    sts = replace(request_, task="embeddings", checkpoint=str(served("shipped sts")), format="csv")
    with pytest.raises(DataError, match="can't hold embeddings"):
        run_of(sts)


@pytest.mark.usefixtures("untraced")
def test_what_is_said_about_outputs_belongs_to_the_checkpoint_of_a_run(
    request_: Request, checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    labelled = copy(checkpoint("classifier"), tmp_path / "labelled")
    edit_json(labelled / "config.json", id2label={"0": "GOOD", "1": "BAD"})
    unsaid = replace(request_, checkpoint=str(labelled))
    with pytest.raises(CheckpointUnsupported, match="--positive-label LABEL"):
        run_of(unsaid)
    good = replace(unsaid, outputs=OutputOptions(positive_label="GOOD"))
    output_of(run_of(good), good.output)
    with pytest.raises(OutputTaken, match="the checkpoint"):
        job.complete(replace(good, outputs=OutputOptions(positive_label="BAD")))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (EngineSettings(), None),
        (EngineSettings(device="cpu"), False),
        (EngineSettings(device="cuda"), True),
        (EngineSettings(dtype="int8"), False),
        (EngineSettings(backend="onnx"), False),
        (EngineSettings(dtype="bfloat16", backend="torch"), None),
    ],
)
def test_gpus_are_used_where_the_engine_can(settings: EngineSettings, wanted: bool | None) -> None:
    assert job.wants_gpu(settings) is wanted


@pytest.mark.parametrize(("gpus", "device", "slots"), [(0.0, "cpu", 1), (0.5, "cuda", 2)])
def test_the_engine_of_a_worker_computes_where_it_has_room(
    request_: Request, gpus: float, device: str, slots: int
) -> None:
    request = replace(request_, threads=3, engine=EngineSettings(dtype="float32"))
    settings = job.engine_of(request, job.Room(workers=2, threads=3, gpus=gpus))
    assert settings == EngineSettings(device=device, dtype="float32", threads=3, slots=slots)  # type: ignore[arg-type]


def test_a_checkpoint_is_named_so_that_all_machines_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert job.everywhere("mine") == str(tmp_path / "mine")
    assert job.everywhere("checkpoints/sts") == str(job.ROOT / "checkpoints" / "sts")
    assert job.everywhere("owner/name@0123") == "owner/name@0123"
