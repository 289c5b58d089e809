"""The command `evaluate` with a real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.engines.choice import EngineSettings
from pipelines.measure.evaluate import evaluate_checkpoint
from tests.pipelines.small_data import write_small_data
from tests.serve.server import ROOT, Server

pytestmark = pytest.mark.serve


def test_a_server_scores_as_its_checkpoints_do_in_this_process(server: Server, tmp_path: Path) -> None:
    for task, data in write_small_data(tmp_path).items():
        command = [sys.executable, "-m", "pipelines.evaluate", str(data), "--task", task, "--url", server.url]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
        alone = evaluate_checkpoint(ROOT / "checkpoints" / task, str(data), EngineSettings())
        assert json.loads(printed) == pytest.approx(alone, abs=1e-4)  # the command prints four decimals
        assert any(alone.values())
