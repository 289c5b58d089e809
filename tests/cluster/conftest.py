"""One cluster for the tests of a file, on tiny checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.network import why_not
from tests.cluster.nodes import Cluster, cluster, gpu_config
from tests.conftest import MakeCheckpoint
from tests.faults.conftest import pytest_terminal_summary, report

__all__ = ["nodes", "pytest_terminal_summary", "report"]

KINDS = {"sts": "bi-encoder", "cola": "classifier", "qa": "extractor"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, imported: MakeCheckpoint) -> Iterator[Cluster]:
    """Two workers of each pool."""
    if reason := why_not():
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("cluster")
    config = gpu_config(folder, {task: imported(kind) for task, kind in KINDS.items()})
    with cluster(folder, config, "cpu1", "cpu2", "gpu1", "gpu2") as started:
        yield started
