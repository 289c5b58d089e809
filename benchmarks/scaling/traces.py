"""Traces of requests for the simulation: when each arrives, how much work it is, and when it must be done."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SHORT_S, LONG_S, LONG_SHARE = 0.5, 5.5, 0.1  # work of the two kinds of requests: 1 s on average
DEADLINE_S = 10.0
FILE_CALLS, CALL_S, FILE_DEADLINE_S = 1_000, 1.0, 120.0
DAY_S = 86_400.0

Rate: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Trace:
    """Requests in the order of their arrival.

    arrival_s   seconds since the start (requests,)
    work_s      seconds of one replica's time (requests,)
    deadline_s  seconds from the arrival within which the request must be done (requests,)
    bulk        whether other requests go first (requests,)
    end_s       when the simulation ends
    """

    name: str
    arrival_s: NDArray[np.float64]
    work_s: NDArray[np.float64]
    deadline_s: NDArray[np.float64]
    bulk: NDArray[np.bool_]
    end_s: float

    def __len__(self) -> int:
        return len(self.arrival_s)


def poisson(name: str, rate: Rate, highest: float, end_s: float, seed: int) -> Trace:
    """Poisson arrivals whose `rate` in requests per second changes with time, by thinning (Lewis & Shedler 1979)."""
    random = np.random.default_rng(seed)
    count = random.poisson(highest * end_s)
    candidates = np.sort(random.uniform(0.0, end_s, count))
    arrival_s = candidates[random.uniform(0.0, highest, count) < rate(candidates)]
    work_s = np.where(random.uniform(size=len(arrival_s)) < LONG_SHARE, LONG_S, SHORT_S)
    deadline_s = np.full(len(arrival_s), DEADLINE_S)
    return Trace(name, arrival_s, work_s, deadline_s, np.zeros(len(arrival_s), dtype=np.bool_), end_s)


def step(seed: int) -> Trace:
    """20 minutes: work for 10 replicas, and for 200 from the fifth minute on."""
    return poisson("step", lambda time: np.where(time < 300, 10.0, 200.0), 200.0, 1_200.0, seed)


def diurnal(seed: int) -> Trace:
    """One day: work for 1 replica at night and for 12 at noon."""
    return poisson("diurnal", lambda time: 6.5 - 5.5 * np.cos(2 * math.pi * time / DAY_S), 12.0, DAY_S, seed)


def spike(seed: int) -> Trace:
    """One hour: work for 10 replicas, and for 200 during two minutes."""
    return poisson("spike", lambda time: np.where(abs(time - 960) < 60, 200.0, 10.0), 200.0, 3_600.0, seed)


def bulk_file(seed: int) -> Trace:
    """One hour: work for 5 replicas, and after 10 minutes a file of 1,000 calls of 1 s with a deadline of 2 minutes."""
    singles = poisson("bulk file", lambda time: np.full(len(time), 5.0), 5.0, 3_600.0, seed)
    at = int(np.searchsorted(singles.arrival_s, 600.0))

    def with_file(values: NDArray[np.float64], value: float) -> NDArray[np.float64]:
        return np.insert(values, at, np.full(FILE_CALLS, value))

    bulk = np.insert(singles.bulk, at, np.ones(FILE_CALLS, dtype=np.bool_))
    return Trace(
        singles.name,
        with_file(singles.arrival_s, 600.0),
        with_file(singles.work_s, CALL_S),
        with_file(singles.deadline_s, FILE_DEADLINE_S),
        bulk,
        singles.end_s,
    )


TRACES: dict[str, Callable[[int], Trace]] = {"step": step, "diurnal": diurnal, "spike": spike, "bulk file": bulk_file}
