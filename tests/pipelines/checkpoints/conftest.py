"""Where imports come from and go to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.engines import onnx_export
from pipelines.format.manifest import Manifest
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_weights


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "to" / "checkpoint"


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The test's own imports are left to PyTorch: tracing takes seconds, and another test's subject."""
    trace = onnx_export.write_onnx

    def refuse(folder: Path, manifest: Manifest) -> Path:
        if folder.is_relative_to(tmp_path):
            raise RuntimeError("not in this test")
        return trace(folder, manifest)

    monkeypatch.setattr(onnx_export, "write_onnx", refuse)


@pytest.fixture
def source(checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: copy(checkpoint(kind), tmp_path / "source")


@pytest.fixture(scope="session")
def steady_source(checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier whose probabilities hardly move when its activations are rounded. Not to be written to."""
    folder = copy(checkpoint("classifier"), tmp_path_factory.mktemp("saved") / "steady")
    edit_weights(folder, lambda weights: weights["classifier.weight"].mul_(0.3))
    return folder


@pytest.fixture(scope="session")
def steady(steady_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the project's format. Not to be written to."""
    folder = tmp_path_factory.mktemp("imported") / "steady"
    import_checkpoint(str(steady_source), folder)
    return folder
