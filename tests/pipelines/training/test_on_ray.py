"""Real runs on Ray, each with its own cluster and in its own process."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.checkpoints.resolve import ROOT
from pipelines.training.on_ray import warn_if_waiting
from pipelines.training.results import History
from tests.pipelines.training.numbers import SETTINGS, STEPS
from tests.pipelines.training.test_curves import scalars
from tests.pipelines.training.test_trainer import finish, start

pytestmark = pytest.mark.train

TIMEOUT_S = 240
ENVIRONMENT = {
    "RAY_ADDRESS": "local",  # do not join a cluster that runs on this machine
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # ten times as often as by default, since epochs are short
}


@dataclass
class FinishedProcess:
    code: int
    lines: list[str]
    errors: str

    def result(self) -> dict[str, Any]:
        assert self.code == 0, self.errors
        result: dict[str, Any] = json.loads(self.lines[-1])
        return result


def fit(storage: Path, workers: int, event: str) -> FinishedProcess:
    storage.mkdir(exist_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.training.fit_numbers", str(storage), str(workers), event],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return FinishedProcess(process.returncode, process.stdout.splitlines(), process.stderr)


def assert_same_as_without_ray(result: dict[str, Any], tolerance: float) -> None:
    """Assert that the result is that of one process without Ray, except for rounding."""
    alone = finish(start())
    history = History.of(result["history"])
    assert len(history.epochs) == SETTINGS.epochs
    assert len(history.losses) == STEPS
    assert history.losses == pytest.approx(alone.history.losses, abs=tolerance)
    for name, weights in alone.best.items():
        torch.testing.assert_close(torch.tensor(result["weights"][name]), weights, atol=tolerance, rtol=0)


@pytest.mark.faults
def test_a_run_of_two_workers_has_the_same_result_if_one_of_them_is_killed(tmp_path: Path) -> None:
    ended = fit(tmp_path / "storage", 2, "die")
    assert (tmp_path / "storage" / "die").exists()
    assert_same_as_without_ray(ended.result(), 1e-5)
    output = "\n".join(ended.lines)  # Ray may report the dead worker in the middle of a line
    assert re.findall(r"numbers: (\d) of 4 epochs were done before", output) == ["1"]
    assert re.findall(r"numbers: epoch (\d) of 4: accuracy", output) == ["1", "2", "3", "4"]
    steps = [step for name, step, _ in scalars(tmp_path / "storage" / "numbers" / "tensorboard") if "train" in name]
    assert steps == list(range(STEPS))


@pytest.mark.faults
def test_an_interrupted_run_continues_when_it_is_started_again(tmp_path: Path) -> None:
    ended = fit(tmp_path / "storage", 1, "interrupt")
    assert ended.code == 130, ended.errors
    assert [line.partition(", loss")[0] for line in ended.lines] == [ended.lines[0].partition(", loss")[0]]
    assert ended.lines[0].startswith("numbers: epoch 1 of 4: accuracy ")
    again = fit(tmp_path / "storage", 1, "interrupt")
    assert again.lines[0] == "numbers: 1 of 4 epochs were done before"
    assert_same_as_without_ray(again.result(), 0.0)


@pytest.mark.parametrize(("cpus", "gpus", "waits"), [(2, 0, False), (3, 0, True), (1, 0.5, True)])
def test_waiting_for_cpus_or_gpus_is_logged(
    cpus: int, gpus: float, waits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    warn_if_waiting(cpus, gpus)
    warning = f"this needs {cpus} CPUs and {gpus:g} GPUs and the cluster has 2 and 0: waiting until it has more"
    assert caplog.messages == ([warning] if waits else [])
