"""A discrete-event simulation of the replicas of one model: a queue, replicas that start and stop, and a policy.

Requests wait in one queue, interactive ones before bulk ones, first in, first out. A replica works on one request at a
time, at one second of work per second. Once per second the load is sampled and the policy decides; it sees samples only
when they are reported. A replica that is to stop finishes its request first.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.policies import Policy, Sample, View
from benchmarks.scaling.traces import Trace

KEPT_S = 60.0  # how long samples are kept: the longest window of all policies
TICK_S = 1.0
# Of events at the same time, requests end before replicas start, and replicas start before requests arrive.
ENDS, STARTS = 0, 1


@dataclass(frozen=True)
class Setup:
    """start_s: seconds until a new replica is ready; fewest, most: the bounds of the number of replicas."""

    start_s: float = 15.0
    fewest: int = 1
    most: int = 1_000


@dataclass(frozen=True)
class Outcome:
    """What became of the requests, and the replicas that it took.

    wait_s     seconds until each request was begun (requests,); infinite for those left over
    done_s     seconds until each request was done (requests,); infinite for those left over
    replica_s  seconds of all replicas, from the order to start to the end
    replicas   their number once per second, starting and stopping ones included (seconds,)
    """

    wait_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    replica_s: float
    replicas: NDArray[np.int64]


@dataclass
class _Replica:
    started_s: float
    busy_since_s: float = -1.0
    busy_s: float = 0.0
    sampled_s: float = 0.0
    stopping: bool = False
    busy: deque[Sample] = field(default_factory=deque)


class Cluster:
    """The state of one simulation."""

    def __init__(self, trace: Trace, policy: Policy, setup: Setup) -> None:
        self._trace = trace
        self._policy = policy
        self._setup = setup
        self._work_s: list[float] = trace.work_s.tolist()
        self._arrival_s: list[float] = trace.arrival_s.tolist()
        self._bulk: list[bool] = trace.bulk.tolist()
        self._queues: tuple[deque[int], deque[int]] = (deque(), deque())
        self._waiting_s = 0.0
        self._in_work = 0
        self._events: list[tuple[float, int, int, int]] = []  # time, kind, replica, request
        self._replicas: dict[int, _Replica] = {}  # ready ones, by number
        self._starting: dict[int, float] = {}  # when it was ordered, by number
        self._idle: list[int] = []
        self._next = 0
        self._target = 0
        self._replica_s = 0.0
        self._ongoing: deque[Sample] = deque()
        self._waiting: deque[Sample] = deque()
        self._counts: list[int] = []
        self._view = View(0.0, 0, 0, [], {}, [])
        self._wait_s = np.full(len(trace), math.inf)
        self._done_s = np.full(len(trace), math.inf)

    def run(self) -> Outcome:
        """Run the whole trace. Requests that are not done at its end count as never done."""
        self._scale(self._setup.fewest, 0.0, start_s=0.0)
        arrived = 0
        for tick in range(1, math.ceil(self._trace.end_s / TICK_S) + 1):
            arrived = self._until(tick * TICK_S, arrived)
            self._sample(tick * TICK_S)
            self._decide(tick * TICK_S)
        for number in list(self._replicas):
            self._remove(number, self._trace.end_s)
        self._replica_s += sum(self._trace.end_s - ordered_s for ordered_s in self._starting.values())
        return Outcome(self._wait_s, self._done_s, self._replica_s, np.array(self._counts))

    def _until(self, end_s: float, arrived: int) -> int:
        """Process all events and arrivals before this time. Returns how many requests have arrived."""
        while True:
            next_s = self._arrival_s[arrived] if arrived < len(self._arrival_s) else math.inf
            if self._events and self._events[0][0] <= min(next_s, end_s):
                time_s, kind, number, request = heapq.heappop(self._events)
                if kind == ENDS:
                    self._end(number, request, time_s)
                else:
                    self._ready(number, time_s)
            elif next_s < end_s:
                self._queues[self._bulk[arrived]].append(arrived)
                self._waiting_s += self._work_s[arrived]
                arrived += 1
                if self._idle:
                    self._begin(self._idle.pop(), next_s)
            else:
                return arrived

    def _begin(self, number: int, now_s: float) -> None:
        """Give an idle replica the next request, or note that it is idle."""
        queue = self._queues[0] or self._queues[1]
        if not queue:
            self._idle.append(number)
            return
        request = queue.popleft()
        self._waiting_s -= self._work_s[request]
        self._in_work += 1
        self._wait_s[request] = now_s - self._arrival_s[request]
        self._replicas[number].busy_since_s = now_s
        heapq.heappush(self._events, (now_s + self._work_s[request], ENDS, number, request))

    def _end(self, number: int, request: int, now_s: float) -> None:
        self._done_s[request] = now_s - self._arrival_s[request]
        self._in_work -= 1
        replica = self._replicas[number]
        replica.busy_s += now_s - max(replica.busy_since_s, replica.sampled_s)
        replica.busy_since_s = -1.0
        if replica.stopping:
            self._remove(number, now_s)
        else:
            self._begin(number, now_s)

    def _ready(self, number: int, now_s: float) -> None:
        if number in self._starting:
            self._replicas[number] = _Replica(self._starting.pop(number), sampled_s=now_s)
            self._begin(number, now_s)

    def _remove(self, number: int, now_s: float) -> None:
        self._replica_s += now_s - self._replicas.pop(number).started_s

    def _scale(self, target: int, now_s: float, start_s: float) -> None:
        """Start replicas, or stop some: starting ones first, then idle ones, then busy ones once they are idle."""
        self._target = target
        active = len(self._starting) + sum(not replica.stopping for replica in self._replicas.values())
        for _ in range(target - active):
            self._starting[self._next] = now_s
            heapq.heappush(self._events, (now_s + start_s, STARTS, self._next, -1))
            self._next += 1
        for _ in range(active - target):
            if self._starting:
                self._replica_s += now_s - self._starting.popitem()[1]
            elif self._idle:
                self._remove(self._idle.pop(), now_s)
            else:
                next(one for one in self._replicas.values() if not one.stopping).stopping = True

    def _sample(self, now_s: float) -> None:
        """Record the load. The policy sees all samples so far when they are reported."""
        waiting = len(self._queues[0]) + len(self._queues[1])
        _add(self._ongoing, Sample(now_s, waiting + self._in_work))
        _add(self._waiting, Sample(now_s, max(0.0, self._waiting_s)))
        self._counts.append(len(self._replicas) + len(self._starting))
        for replica in self._replicas.values():
            if replica.busy_since_s >= 0:
                replica.busy_s += now_s - max(replica.busy_since_s, replica.sampled_s)
            _add(replica.busy, Sample(now_s, replica.busy_s / max(now_s - replica.sampled_s, 1e-9)))
            replica.busy_s, replica.sampled_s = 0.0, now_s
        if now_s % self._policy.report_s < TICK_S:
            self._view.ongoing, self._view.waiting = list(self._ongoing), list(self._waiting)
            running = {number: one for number, one in self._replicas.items() if not one.stopping}
            self._view.busy = {number: list(one.busy) for number, one in running.items()}

    def _decide(self, now_s: float) -> None:
        self._view.now_s, self._view.target = now_s, self._target
        self._view.running = sum(not replica.stopping for replica in self._replicas.values())
        wanted = self._policy.decide(self._view)
        self._scale(min(max(wanted, self._setup.fewest), self._setup.most), now_s, self._setup.start_s)


def _add(series: deque[Sample], sample: Sample) -> None:
    series.append(sample)
    while series[0].timestamp <= sample.timestamp - KEPT_S:
        series.popleft()
