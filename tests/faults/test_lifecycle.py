"""A graph that is stopped under load, and one whose processes die all the time."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.faults.conftest import Report
from tests.faults.open_loop import figures, open_loop
from tests.serve.server import Server, environment, running

pytestmark = pytest.mark.faults

CHAOS_S = float(os.environ.get("MUNJANG_CHAOS_S", "60"))


def test_a_server_that_is_told_to_stop_answers_all_that_it_has_accepted(config: Path, report: Report) -> None:
    with running(config, environment()) as server, open_loop(server.url) as load:
        load.wait_for(40)
        told_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        stopped_s = time.monotonic() - told_s
    answered = [outcome for outcome in load.outcomes if outcome.status]
    report(**figures(load.outcomes), stopped_s=round(stopped_s, 1))
    assert {outcome.status for outcome in answered} <= {200, 500, 503}
    assert {outcome.error for outcome in load.outcomes if not outcome.status} <= {"ConnectError", "ReadError"}


def test_random_kills_every_second_lose_almost_nothing(graph: Server, report: Report) -> None:
    chance, memory = random.Random(0), []
    with open_loop(graph.url, retries=0) as raw, open_loop(graph.url, retries=1) as retrying:
        until_s = time.monotonic() + CHAOS_S
        while time.monotonic() < until_s:
            replicas = [replica for replica in graph.replicas() if "Ingress" not in name(replica)]
            if len(replicas) > 8:  # never the last ones of a deployment
                chance.choice(replicas).kill()
            memory.append((time.monotonic(), sum(rss(process) for process in graph.processes())))
            time.sleep(1)
    growth = np.polyfit(*zip(*memory, strict=True), 1)[0] * 60 / 2**20
    rates = [sum(o.status == 200 for o in load.outcomes) / len(load.outcomes) for load in (raw, retrying)]
    report(seconds=CHAOS_S, raw=rates[0], with_one_retry=rates[1], memory_mib_per_minute=round(growth, 1))
    report(raw=figures(raw.outcomes), with_one_retry=figures(retrying.outcomes))
    assert rates[1] >= 0.999


def name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return "Ingress"  # gone: not to be killed


def rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
