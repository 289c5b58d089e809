import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.environment import server_environment
from pipelines.checkpoints.resolve import ROOT


def test_programs_are_those_of_this_python_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    path = server_environment()["PATH"].split(os.pathsep)
    assert path == [str(Path(sys.executable).parent), "/usr/bin", "/bin"]


def test_a_variable_of_this_process_has_precedence_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", raising=False)
    assert server_environment()["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "10"
    monkeypatch.setenv("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "20")
    assert server_environment()["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "20"


def test_the_launcher_imports_ray_only_after_it_has_set_the_variables() -> None:
    command = [sys.executable, "-c", "import sys, deployments.launch; print('ray' in sys.modules)"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout == "False\n"
