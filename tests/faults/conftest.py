"""A server with two replicas of each deployment on tiny checkpoints, and a report of what the tests measure."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import MakeCheckpoint
from tests.serve.server import Server, environment, running, write_config

TWO = {"autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}
REPLICATED = ["StsTokenizer", "StsEncoder", "ColaTokenizer", "ColaClassifier", "QaTokenizer", "QaExtractor", "Ingress"]
MEASURED = pytest.StashKey[list[str]]()

Report = Callable[..., None]


@pytest.fixture(autouse=True, scope="session")
def _clients_first() -> None:
    """Give this process more of the processors than the server, whose session is another one (see autogroups in
    sched(7)). The clients stand for other machines, and one that starves sends its requests too slowly. Needs root.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Have figures printed at the end of the run, beside the test's name."""

    def add(**figures: Any) -> None:
        lines = request.config.stash.setdefault(MEASURED, [])
        lines.append(f"{request.node.name}: {json.dumps(figures, ensure_ascii=False)}")

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print all figures, once: tests/cluster/conftest.py has this hook, too."""
    lines = config.stash.get(MEASURED, [])
    while lines:
        terminalreporter.write_line(lines.pop(0))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, imported: MakeCheckpoint) -> Path:
    path = write_config(
        tmp_path_factory.mktemp("faults"),
        sts={"checkpoint": str(imported("bi-encoder"))},
        cola={"checkpoint": str(imported("classifier"))},
        qa={"checkpoint": str(imported("extractor"))},
    )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["applications"][0]["deployments"] = [{"name": name} | TWO for name in REPLICATED]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def graph(config: Path) -> Iterator[Server]:
    with running(config, environment()) as server:
        yield server
