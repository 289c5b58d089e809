"""The policy in Serve's controller, and what it reads. benchmarks/step.py shows what it does under load."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.autoscaling import INGRESS, METRICS, TASKS
from tests.serve.autoscaling_reports import SECONDS
from tests.serve.server import ROOT, Server

pytestmark = pytest.mark.serve

MODELS = [model for _, model in TASKS]


@pytest.fixture(scope="module")
def reports(server: Server) -> dict[str, Any]:
    """By deployment, what autoscaling_reports.py prints."""
    (raylet,) = [process.cmdline() for process in server.processes() if process.name() == "raylet"]
    (address,) = [word.partition("=")[2] for word in raylet if word.startswith("--gcs-address=")]
    command = [sys.executable, "-m", "tests.serve.autoscaling_reports", address, INGRESS, *MODELS]
    environment = os.environ | {"RAY_AUTH_MODE": "token"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_controller_runs_the_policy_without_an_error(server: Server) -> None:
    logs = {Path(name).name: text for name, text in server.logs().items()}
    (controller,) = [
        text
        for name, text in logs.items()
        if name.startswith("controller_") and not name.startswith("controller_build_")
    ]
    assert "Using custom autoscaling policy 'deployments.autoscaling:ByWork' for application 'munjang'" in controller
    errors = [line for line in controller.splitlines() if line.startswith("ERROR") and "UNHEALTHY" not in line]
    assert not errors  # other tests kill replicas, whose deployments are UNHEALTHY until they are replaced
    assert "Traceback" not in controller


@pytest.mark.parametrize("model", MODELS)
def test_models_and_ingress_report_what_the_policy_reads(reports: dict[str, Any], model: str) -> None:
    assert set(METRICS) <= set(reports[model]["values"])
    assert reports[model]["values"]["cores"] > 0
    assert reports[INGRESS]["values"][model] >= 0


@pytest.mark.parametrize("deployment", [INGRESS, *MODELS])
def test_reports_come_every_two_seconds(reports: dict[str, Any], deployment: str) -> None:
    assert SECONDS < 10  # Serve's own interval: with it, there would be no more than two reports
    assert reports[deployment]["reports"] >= 3
