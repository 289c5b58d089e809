"""Real runs on a Ray cluster of their own, each in a process of its own."""

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
from pipelines.training.on_ray import tell_of_waiting
from pipelines.training.results import History
from tests.pipelines.training.numbers import SETTINGS, STEPS
from tests.pipelines.training.test_curves import scalars
from tests.pipelines.training.test_run import finish, start

pytestmark = pytest.mark.train

LONGEST_S = 240
ENVIRONMENT = {
    "RAY_ADDRESS": "local",  # never join a cluster that happens to run here
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # ten times as often as by default: epochs are short here
}


@dataclass
class Ended:
    code: int
    said: list[str]
    errors: str

    def result(self) -> dict[str, Any]:
        assert self.code == 0, self.errors
        result: dict[str, Any] = json.loads(self.said[-1])
        return result


def fit(storage: Path, workers: int, event: str) -> Ended:
    storage.mkdir(exist_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.training.fit_numbers", str(storage), str(workers), event],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    return Ended(process.returncode, process.stdout.splitlines(), process.stderr)


def as_without_ray(result: dict[str, Any], tolerance: float) -> None:
    """The result is that of one plain process, up to the order of additions."""
    alone = finish(start())
    history = History.of(result["history"])
    assert len(history.epochs) == SETTINGS.epochs
    assert len(history.losses) == STEPS
    assert history.losses == pytest.approx(alone.history.losses, abs=tolerance)
    for name, weights in alone.best.items():
        torch.testing.assert_close(torch.tensor(result["weights"][name]), weights, atol=tolerance, rtol=0)


def test_a_run_of_two_workers_of_which_one_is_killed_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    ended = fit(tmp_path / "storage", 2, "die")
    assert (tmp_path / "storage" / "die").exists()
    as_without_ray(ended.result(), 1e-5)
    output = "\n".join(ended.said)  # Ray says that a worker died, now and then in the middle of a line
    assert re.findall(r"numbers: (\d) of 4 epochs were done before", output) == ["1"]
    assert re.findall(r"numbers: epoch (\d) of 4: accuracy", output) == ["1", "2", "3", "4"]
    steps = [step for name, step, _ in scalars(tmp_path / "storage" / "numbers" / "tensorboard") if "train" in name]
    assert steps == list(range(STEPS))


def test_what_was_interrupted_goes_on_when_the_same_command_is_run_again(tmp_path: Path) -> None:
    ended = fit(tmp_path / "storage", 1, "interrupt")
    assert ended.code == 130, ended.errors
    assert [line.partition(", loss")[0] for line in ended.said] == [ended.said[0].partition(", loss")[0]]
    assert ended.said[0].startswith("numbers: epoch 1 of 4: accuracy ")
    again = fit(tmp_path / "storage", 1, "interrupt")
    assert again.said[0] == "numbers: 1 of 4 epochs were done before"
    as_without_ray(again.result(), 0.0)


@pytest.mark.parametrize(("cpus", "gpus", "waits"), [(2, 0, False), (3, 0, True), (1, 0.5, True)])
def test_who_waits_for_machines_is_told(
    cpus: int, gpus: float, waits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    tell_of_waiting(cpus, gpus)
    told = [f"{cpus} CPUs and {gpus:g} GPUs are wanted and the cluster has 2 and 0: this waits until there are more"]
    assert caplog.messages == (told if waits else [])
