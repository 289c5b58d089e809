"""Where imports come from and go to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "to" / "checkpoint"


@pytest.fixture
def source(checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: copy(checkpoint(kind), tmp_path / "source")
