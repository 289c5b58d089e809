"""A graph that is stopped under load, and one whose processes die all the time."""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.watch import name_of
from tests.faults.conftest import REPLICATED, Report
from tests.faults.open_loop import all_good, figures, open_loop
from tests.serve.server import Server, environment, running

pytestmark = pytest.mark.faults

LEAST_GROWTH = 0.05  # MiB per minute
CHAOS_S = float(os.environ.get("MUNJANG_CHAOS_S", "60"))


def test_a_server_that_is_told_to_stop_answers_all_that_it_has_accepted(config: Path, report: Report) -> None:
    with running(config, environment()) as server, open_loop(server.url) as load:
        load.wait_for(40)
        told_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        stopped_s = time.monotonic() - told_s
    report(**figures(load.outcomes), stopped_s=round(stopped_s, 1))
    before = [outcome for outcome in load.outcomes if outcome.at_s - outcome.seconds < told_s]
    assert all_good(before)
    assert {outcome.status for outcome in load.outcomes} <= {200, 0, 502, 503}


def test_random_kills_every_second_lose_almost_nothing(graph: Server, report: Report) -> None:
    chance, memory, kills = random.Random(0), list[tuple[float, dict[psutil.Process, int]]](), 0
    with open_loop(graph.url, retries=0) as raw, open_loop(graph.url, retries=1) as retrying:
        until_s = time.monotonic() + CHAOS_S
        while time.monotonic() < until_s:
            replicas = graph.replicas(chance.choice(REPLICATED))
            if len(replicas) > 1:  # never the last one of a deployment
                chance.choice(replicas).kill()
                kills += 1
            memory.append((time.monotonic(), {process: rss(process) for process in graph.processes()}))
            time.sleep(1)
    rates = [sum(o.status == 200 for o in load.outcomes) / len(load.outcomes) for load in (raw, retrying)]
    report(seconds=CHAOS_S, kills=kills, raw=rates[0], with_one_retry=rates[1])
    report(memory_mib_per_minute=growth([(at_s, sum(sizes.values())) for at_s, sizes in memory]))
    report(of_processes_that_stayed=growth_by_process(memory))
    report(raw=figures(raw.outcomes), with_one_retry=figures(retrying.outcomes))
    assert rates[0] >= 0.99
    assert rates[1] >= 0.999


def growth(sizes: Sequence[tuple[float, int]]) -> float:
    """MiB per minute, by a line through bytes at times in seconds."""
    return round(float(np.polyfit(*zip(*sizes, strict=True), 1)[0]) * 60 / 2**20, 2)


def growth_by_process(memory: Sequence[tuple[float, dict[psutil.Process, int]]]) -> dict[str, float]:
    """The growth of each process that was there at every time and still is, by its name, the fastest first."""
    stayed = [one for one in set.intersection(*(set(sizes) for _, sizes in memory)) if one.is_running()]
    grown = [(growth([(at_s, sizes[one]) for at_s, sizes in memory]), name_of(one.cmdline())) for one in stayed]
    return {name: rate for rate, name in sorted(grown, reverse=True) if rate > LEAST_GROWTH}


def rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
