"""Checkpoints to run, tiny ones and those that come with the project."""

import pytest

from pipelines.checkpoints.resolve import ROOT
from tests.conftest import MakeCheckpoint

SHIPPED = ("shipped sts", "shipped cola", "shipped qa")


@pytest.fixture(scope="session")
def served(imported: MakeCheckpoint) -> MakeCheckpoint:
    """By kind, the folder of a checkpoint in the project's format; one of `SHIPPED` for the project's own."""
    return lambda kind: ROOT / "checkpoints" / kind.split()[1] if kind in SHIPPED else imported(kind)
