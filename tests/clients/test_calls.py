"""Real clients of other servers, in an environment of their own (`make test-clients`), against a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.calls import CALLS
from tests.serve.server import ROOT, Server, environment, running, write_config

pytestmark = pytest.mark.clients

PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_config(tmp_path_factory.mktemp("clients")), environment()) as server:
        yield server


@pytest.mark.parametrize("client", CALLS)
def test_a_client_that_exists_already_is_served(server: Server, client: str) -> None:
    python = Path(os.environ.get("CLIENTS_PYTHON", str(PYTHON)))
    # Offline, Hugging Face's client refuses the addresses of this machine, too.
    variables = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    command = [str(python), str(ROOT / "tests" / "clients" / "calls.py"), server.url, client]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
