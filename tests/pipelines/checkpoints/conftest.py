"""Where imports come from and go to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.checkpoints.manifest import Manifest
from pipelines.engines import onnx_export
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy


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
