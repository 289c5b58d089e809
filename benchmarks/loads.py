"""Loads on a server that scores pairs: closed loop, open loop, and the pairs of a file as single requests.

A load calls `ask(pair)`, which returns the score or raises Refused. The requests themselves are made in clients.py.
Latencies are in seconds.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from benchmarks.pairs import Pair

Ask = Callable[[Pair], Awaitable[Any]]

LEAD_SHARE = 0.2
"""The unmeasured lead of a closed loop, as a share of the measured time."""
REFUSED_WAIT_S = 0.05
"""Pause of a caller after a refused request. Without it, the load would measure only refusals."""


class Refused(Exception):
    """The server refused a request because too many are waiting."""


@dataclass
class Outcome:
    """The results of a load: latencies of answered requests, and numbers of the others."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    unanswered: int = 0
    in_time: int = 0

    def figures(self, seconds: float) -> dict[str, float]:
        """The rate over `seconds`, and latency quantiles in ms. Unanswered requests count with the time they waited."""
        counts = {"answered": len(self.latencies), "refused": self.refused, "unanswered": self.unanswered}
        rate = {"pairs_per_s": round(self.in_time / seconds, 2)}
        if len(self.latencies) < 2:
            return rate | counts
        cuts = quantiles(self.latencies, n=100, method="inclusive")
        return rate | {"p50_ms": round(cuts[49] * 1000, 2), "p99_ms": round(cuts[98] * 1000, 2)} | counts


async def closed_loop(ask: Ask, pairs: Iterator[Pair], callers: int, seconds: float) -> Outcome:
    """Run `callers` callers, each of which sends its next request when its last one is answered.

    Latencies count for requests sent within the measured time, the rate counts answers that arrive within it.
    """
    outcome = Outcome()
    begin = time.perf_counter() + LEAD_SHARE * seconds
    end = begin + seconds

    async def caller() -> None:
        while (sent := time.perf_counter()) < end:
            try:
                await ask(next(pairs))
            except Refused:
                outcome.refused += sent >= begin
                await asyncio.sleep(REFUSED_WAIT_S)
                continue
            now = time.perf_counter()
            outcome.in_time += begin <= now < end
            if sent >= begin:
                outcome.latencies.append(now - sent)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return outcome


def arrivals(rate: float, seed: int | None = None) -> Iterator[float]:
    """Yield endlessly when requests are due, in seconds: evenly spaced, or with a seed as a Poisson process."""
    if seed is None:
        return (number / rate for number in itertools.count())
    draw = random.Random(seed)
    return itertools.accumulate(draw.expovariate(rate) for _ in itertools.count())


async def open_loop(ask: Ask, pairs: Iterator[Pair], due: Iterable[float], patience_s: float) -> Outcome:
    """Send a request at each time `due`, whether or not the earlier ones were answered.

    Latency counts from when a request was due, so that waiting behind a slow answer shows (no coordinated omission).
    Requests unanswered `patience_s` seconds after the last one was sent are cancelled, and count with the time since
    they were due.
    """
    outcome = Outcome()
    begin = time.perf_counter()
    waiting: dict[asyncio.Task[None], float] = {}

    async def send(pair: Pair, due_s: float) -> None:
        try:
            await ask(pair)
        except Refused:
            outcome.refused += 1
        else:
            outcome.in_time += 1
            outcome.latencies.append(time.perf_counter() - begin - due_s)

    for due_s in due:
        await asyncio.sleep(max(0.0, begin + due_s - time.perf_counter()))
        waiting[asyncio.create_task(send(next(pairs), due_s))] = due_s
    if not waiting:
        return outcome
    done, late = await asyncio.wait(waiting, timeout=patience_s)
    for task in late:
        task.cancel()
        outcome.unanswered += 1
        outcome.latencies.append(time.perf_counter() - begin - waiting[task])
    for task in done:
        task.result()
    return outcome


def during(due: Iterator[float], seconds: float) -> Iterator[float]:
    """The times within the first `seconds`."""
    return itertools.takewhile(lambda due_s: due_s < seconds, due)


async def all_singly(ask: Ask, pairs: Iterable[Pair], in_flight: int) -> list[Any]:
    """Send every pair in its own request, `in_flight` at a time, and refused ones again; return answers in order."""
    queue = iter(enumerate(pairs))
    answers: dict[int, Any] = {}

    async def worker() -> None:
        for number, pair in queue:
            while number not in answers:
                try:
                    answers[number] = await ask(pair)
                except Refused:
                    await asyncio.sleep(REFUSED_WAIT_S)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return [answers[number] for number in sorted(answers)]
