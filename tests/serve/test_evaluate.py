"""The command `evaluate` with a real server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.choice import EngineSettings
from pipelines.measure.evaluate import evaluate_checkpoint, evaluate_server
from tests.pipelines.small_data import write_small_data
from tests.serve.server import ROOT, Server

pytestmark = pytest.mark.serve


@pytest.mark.parametrize("task", ["sts", "cola", "qa"])
def test_a_server_scores_as_its_checkpoints_do_in_this_process(server: Server, tmp_path: Path, task: Any) -> None:
    data = str(write_small_data(tmp_path)[task])
    alone = evaluate_checkpoint(ROOT / "checkpoints" / task, data, EngineSettings())
    assert evaluate_server(server.url, data, task) == pytest.approx(alone, abs=1e-4)
    assert any(alone.values())


def test_the_command_prints_the_figures_of_a_server(server: Server, tmp_path: Path) -> None:
    data = str(write_small_data(tmp_path)["cola"])
    command = [sys.executable, "-m", "pipelines.evaluate", data, "--task", "cola", "--url", server.url]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    assert json.loads(printed) == pytest.approx(evaluate_server(server.url, data, "cola"), abs=1e-4)  # four decimals
