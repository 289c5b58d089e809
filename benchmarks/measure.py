"""Measure one running server in one round: a record of figures for each load."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.clients import Client
from benchmarks.loads import Ask, all_singly, arrivals, closed_loop, during, open_loop
from benchmarks.pairs import Pair, take

IN_FLIGHT = 64
PATIENCE_S = 20.0
PROBES_PER_S = 10.0
MEMORY_EVERY_S = 0.5
TOLERANCES = {"fp32": 1e-3}
CORRELATION = 0.99
WAYS = ("one request", "singly")

Record = dict[str, Any]


class WrongScores(Exception):
    """A server's scores differ from those of sentence-transformers with the same weights."""


@dataclass(frozen=True)
class Plan:
    """The loads and their lengths. Rates are in pairs/s; shares are of the server's own rate with the most callers."""

    seconds: float
    warm_up_s: float
    callers: tuple[int, ...]
    rates: tuple[float, ...]
    shares: tuple[float, ...]
    poisson: bool
    file_pairs: int
    large_file_pairs: int
    seed: int


def deviations(scores: list[float], expected: list[float], precision: str) -> Record:
    """The deviations of scores from the expected ones.

    Raises WrongScores where a deviation is beyond the precision's tolerance, or the correlation with the expected
    scores is below CORRELATION. The correlation has a meaning because the models' cosines are spread wide (models.py).
    """
    apart = np.abs(np.subtract(scores, expected))
    correlation = float(np.corrcoef(scores, expected)[0, 1])
    figures = {
        "load": "check",
        "max_deviation": float(f"{apart.max():.2e}"),
        "mean_deviation": float(f"{apart.mean():.2e}"),
        "correlation": round(correlation, 6),
    }
    if apart.max() > TOLERANCES.get(precision, np.inf) or not correlation >= CORRELATION:
        raise WrongScores(str(figures))
    return figures


async def check(client: Client, pairs: list[Pair], expected: list[float], precision: str) -> Record:
    """Check the scores of one request with all pairs, and of single requests, IN_FLIGHT at a time, so in batches."""
    singly = await all_singly(client.score, pairs, IN_FLIGHT)
    deviations(await client.scores(pairs), expected, precision)
    return deviations(singly, expected, precision)


async def measure(client: Client, pairs: Iterator[Pair], plan: Plan) -> AsyncIterator[Record]:
    """Warm the server up, then measure closed loops, open loops and the file, one after another."""
    await closed_loop(client.score, pairs, max(plan.callers), plan.warm_up_s)
    own = 0.0
    for callers in plan.callers:
        figures = (await closed_loop(client.score, pairs, callers, plan.seconds)).figures(plan.seconds)
        own = figures["pairs_per_s"]
        yield {"load": f"{callers} callers", **figures}
    shares = [(f"{share:.0%} of its own", share * own) for share in plan.shares]
    for name, rate in [*((f"{rate:g}/s", rate) for rate in plan.rates), *shares]:
        yield {"load": f"open, {name}", "rate": round(rate, 2), **await fixed_rate(client.score, pairs, rate, plan)}
    file = take(pairs, plan.file_pairs)
    for way in WAYS:
        yield await file_one_way(client, file, way)


async def fixed_rate(ask: Ask, pairs: Iterator[Pair], rate: float, plan: Plan) -> Record:
    """An open loop for the plan's seconds; `pairs_per_s` is the rate of answers."""
    due = during(arrivals(rate, plan.seed if plan.poisson else None), plan.seconds)
    begin = time.perf_counter()
    outcome = await open_loop(ask, pairs, due, PATIENCE_S)
    return outcome.figures(max(plan.seconds, time.perf_counter() - begin))


async def file_one_way(client: Client, pairs: list[Pair], way: str) -> Record:
    begin = time.perf_counter()
    scores = await (client.scores(pairs) if way == "one request" else all_singly(client.score, pairs, IN_FLIGHT))
    seconds = time.perf_counter() - begin
    assert len(scores) == len(pairs)
    figures = {"pairs_per_s": round(len(pairs) / seconds, 1), "seconds": round(seconds, 3)}
    return {"load": f"file of {len(pairs):,}", "way": way, **figures}


async def large_file(client: Client, pairs: Iterator[Pair], plan: Plan, way: str) -> AsyncIterator[Record]:
    """Send the large file in the way that was faster for the smaller one."""
    yield await file_one_way(client, take(pairs, plan.large_file_pairs), way)


async def large_file_with_probes(
    client: Client, pairs: Iterator[Pair], plan: Plan, way: str, memory_mib: Callable[[], float]
) -> AsyncIterator[Record]:
    """Send single pairs at PROBES_PER_S before and during the large file, and record the peak of memory."""
    large = take(pairs, plan.large_file_pairs)
    alone = await open_loop(client.score, pairs, during(arrivals(PROBES_PER_S), plan.seconds), PATIENCE_S)
    yield {"load": "probes alone", **alone.figures(plan.seconds)}
    file = asyncio.create_task(file_one_way(client, large, way))
    peak = asyncio.create_task(highest(memory_mib, file))
    begin = time.perf_counter()
    beside = await open_loop(client.score, pairs, while_running(arrivals(PROBES_PER_S), file), PATIENCE_S)
    yield {"load": f"probes during a file of {len(large):,}", **beside.figures(time.perf_counter() - begin)}
    yield {**await file, "beside": f"{PROBES_PER_S:g} single pairs/s"}
    yield {"load": f"memory during a file of {len(large):,}", "peak_mib": await peak}


def while_running(due: Iterator[float], task: "asyncio.Task[Any]") -> Iterator[float]:
    """Yield the times until the task has ended."""
    for due_s in due:
        if task.done():
            return
        yield due_s


async def highest(memory_mib: Callable[[], float], task: "asyncio.Task[Any]") -> float:
    """The highest reading until the task ends."""
    readings = [await asyncio.to_thread(memory_mib)]
    while not task.done():
        await asyncio.wait([task], timeout=MEMORY_EVERY_S)
        readings.append(await asyncio.to_thread(memory_mib))
    return max(readings)
