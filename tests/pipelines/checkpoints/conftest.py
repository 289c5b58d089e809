"""Sources and destinations of imports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.checkpoints.importing import import_checkpoint
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_weights


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "to" / "checkpoint"


@pytest.fixture
def source(checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: copy(checkpoint(kind), tmp_path / "source")


@pytest.fixture(scope="session")
def steady_source(checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved classifier whose probabilities hardly change when activations are rounded. Tests must not write to it."""
    folder = copy(checkpoint("classifier"), tmp_path_factory.mktemp("saved") / "steady")
    edit_weights(folder, lambda weights: weights["classifier.weight"].mul_(0.3))
    return folder


@pytest.fixture(scope="session")
def steady(steady_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier of `steady_source` in the project's format. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("imported") / "steady"
    import_checkpoint(str(steady_source), folder)
    return folder
