import argparse
import asyncio
import itertools
from pathlib import Path

import pytest
import yaml

from benchmarks.loads import Refused
from benchmarks.pairs import Pair
from benchmarks.step import TASK, callers, munjang, windows
from deployments.serve_config import read_config

PAIRS = itertools.repeat(("왼쪽", "오른쪽"))
ARGUMENTS = {"port": 8000, "checkpoint": "checkpoints/sts", "slots": 1, "most": 3}


@pytest.mark.parametrize("to_zero", [True, False])
def test_the_server_has_the_bounds_and_the_delays_that_are_shipped(tmp_path: Path, to_zero: bool) -> None:
    command = munjang(argparse.Namespace(**ARGUMENTS, to_zero=to_zero), tmp_path)
    (application,) = read_config(Path(command.arguments[-1]))["applications"]
    assert application["args"]["sts"]["engine"] == {"slots": 1}
    shipped = yaml.safe_load(Path("serve_config.yaml").read_text(encoding="utf-8"))["applications"][0]
    assert application["autoscaling_policy"] == shipped["autoscaling_policy"]
    for deployment in application["deployments"]:
        assert deployment["name"] in TASK
        assert deployment["autoscaling_config"]["min_replicas"] == (0 if to_zero else 1)
        assert deployment["autoscaling_config"]["max_replicas"] == 3
        assert deployment["autoscaling_config"]["upscale_delay_s"] == 0


def test_windows_have_the_rate_and_the_latencies_of_their_answers() -> None:
    answers = [(100.5, 0.1), (101.0, 0.3), (102.5, 0.2), (104.5, 9.0)]
    first, second = windows(answers, began=100.0, seconds=4.0, window_s=2.0)
    assert (first["from_s"], first["answered"], first["pairs_per_s"], first["p50_ms"]) == (0.0, 2, 1.0, 200.0)
    assert (second["from_s"], second["answered"]) == (2.0, 1)


def test_callers_ask_again_after_a_refusal_and_count_answers_only() -> None:
    refusals = iter([True, True, False])

    async def ask(pair: Pair) -> float:
        if next(refusals, False):
            raise Refused(429)
        await asyncio.sleep(0.01)
        return 0.5

    answers = asyncio.run(callers(ask, PAIRS, 2, 0.2))
    assert answers
    assert all(latency >= 0.01 for _, latency in answers)
