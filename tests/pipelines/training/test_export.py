from pathlib import Path

import pytest

from pipelines.checkpoints.golden import check
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import Int8, Training, verify
from pipelines.format.weights import stored_as
from pipelines.format.windows import WindowSettings
from pipelines.qa.data import Example
from pipelines.training.base import Base
from pipelines.training.export import Provenance, export
from pipelines.training.qa.learner import QaLearner
from pipelines.training.results import History
from tests.conftest import MakeCheckpoint

ASKED = [Example(str(number), "어디?", f"답은 {number}번이다.", 3, 5) for number in range(4)]
INT8 = (TASKS["qa"].examples("train", ASKED), TASKS["qa"].examples("dev", ASKED))
NEVER = -1e9  # a threshold with which every answer is empty


@pytest.fixture
def base(checkpoint: MakeCheckpoint) -> Base:
    return Base.find(str(checkpoint("extractor")))


def provenance(base: Base, *epochs: dict[str, float], best: int) -> Provenance:
    training = Training(data=["rows"], seed=0, command="none", minutes=0)
    return Provenance("qa", base, training, {}, "rows", History([0.5], list(epochs), steps=[1]), best)


def test_golden_answers_and_int8_use_the_threshold_of_the_exported_epoch(base: Base, tmp_path: Path) -> None:
    kept = provenance(base, {"f1": 0.1, "threshold": 5.0}, {"f1": 0.5, "threshold": NEVER}, best=1)
    export(QaLearner.load(base, WindowSettings()), kept, tmp_path / "to", {"results.md": "all"}, INT8)
    manifest = verify(tmp_path / "to", "qa")
    assert (manifest.threshold, manifest.scores) == (NEVER, {"f1": 0.5})
    assert [golden.output for golden in manifest.golden] == ["", ""]
    assert manifest.int8 == Int8(metric="F1", dev="dev", float32=0, int8=0)  # all answers are empty
    assert (tmp_path / "to" / "model.int8.onnx").is_file()
    check(tmp_path / "to", manifest, load_model(tmp_path / "to", manifest, EngineSettings(device="cpu")))
    assert (tmp_path / "to" / "results.md").read_text() == "all"
    assert "| 2 | 0.5000 | -1000000000.0000 |" in (tmp_path / "to" / "README.md").read_text(encoding="utf-8")


def test_weights_are_rounded_before_golden_answers_and_int8_are_measured(base: Base, tmp_path: Path) -> None:
    learner = QaLearner.load(base, WindowSettings())
    made = export(learner, provenance(base, {"f1": 0.1}, best=0), tmp_path / "to", {}, INT8, weights="float16")
    assert stored_as(tmp_path / "to") == "float16"
    manifest = verify(tmp_path / "to", "qa")
    assert manifest == made
    check(tmp_path / "to", manifest, load_model(tmp_path / "to", manifest, EngineSettings(device="cpu")))


def test_an_int8_graph_that_loses_too_much_is_left_out_and_the_log_says_so(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.checkpoints.finish.MOST_POINTS_LOST", -1000.0)
    made = export(
        QaLearner.load(base, WindowSettings()), provenance(base, {"f1": 0.1}, best=0), tmp_path / "to", {}, INT8
    )
    assert made.int8 is None
    assert not (tmp_path / "to" / "model.int8.onnx").exists()
    assert any("int8 loses more than" in message for message in caplog.messages)


def test_a_failed_export_leaves_no_files(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = QaLearner.load(base, WindowSettings())

    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError("no space left")

    monkeypatch.setattr(learner, "save", fail)
    with pytest.raises(OSError, match="no space"):
        export(learner, provenance(base, {"f1": 0.1}, best=0), tmp_path / "to", {}, INT8)
    assert list(tmp_path.iterdir()) == []
