"""One server on the shipped checkpoints for all tests of this folder, and the environment of the clients."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.server import ROOT, Server, environment, running, write_config

PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_config(tmp_path_factory.mktemp("clients")), environment()) as server:
        yield server


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., str]:
    """Runs a script of this folder with the clients' packages, in an empty folder, and returns its output."""
    python = Path(os.environ.get("CLIENTS_PYTHON", str(PYTHON)))
    # Offline, Hugging Face's client refuses the addresses of this machine, too.
    variables = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}

    def run(script: str, *arguments: str) -> str:
        command = [str(python), str(ROOT / "tests" / "clients" / script), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
