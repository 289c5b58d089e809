"""The policies that the simulation compares: the real one of `deployments.autoscaling`, and rules of others.

Ray's rule is written after `ray/serve/autoscaling_policy.py` of Ray 2.60 and its documentation
(https://docs.ray.io/en/latest/serve/autoscaling-guide.html), Knative's after its documentation
(https://knative.dev/docs/serving/autoscaling/autoscaling-concepts/, https://knative.dev/docs/serving/autoscaling/kpa-specific/)
and `pkg/autoscaler/scaling/autoscaler.go` in https://github.com/knative/serving. KServe scales with Knative by default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from deployments.autoscaling import INGRESS, METRICS, ByWork
from deployments.graph import SCALING

MODEL = "StsEncoder"
LOOK_BACK_S = SCALING["look_back_period_s"]


@dataclass(frozen=True)
class Sample:
    """A value at a time, with the names of Serve's time series."""

    timestamp: float
    value: float


@dataclass
class View:
    """What a policy sees of the cluster.

    target    replicas that it wanted last, starting ones included
    running   replicas that have started
    ongoing   requests waiting or in work, sampled every second, oldest first, as far as they have been reported
    busy      by replica, the shares of time in which it was busy, sampled in the same way
    waiting   seconds of one replica's time that the waiting requests take, sampled in the same way
    """

    now_s: float
    target: int
    running: int
    ongoing: Sequence[Sample]
    busy: dict[int, Sequence[Sample]]
    waiting: Sequence[Sample]


class Policy(Protocol):
    """Decides the number of replicas, once per second.

    name      for tables
    report_s  seconds between two reports of the load
    """

    name: str
    report_s: float

    def decide(self, view: View) -> int:
        """Return the number of replicas wanted, before bounds."""


@dataclass
class Delays:
    """Serve's delays and factor: a change must be wanted all the time for so many seconds before it is made."""

    up_s: float
    down_s: float
    down_factor: float = 1.0
    _since: tuple[int, float] = (0, 0.0)  # direction, and when it was wanted first

    def apply(self, wanted: int, view: View) -> int:
        """Return the number of replicas after the delays."""
        if wanted < view.running:
            scaled = math.ceil(view.running + self.down_factor * (wanted - view.running))
            wanted = scaled if scaled < view.running else scaled - 1
        direction = (wanted > view.target) - (wanted < view.target)
        if direction != self._since[0]:
            self._since = (direction, view.now_s)
        if direction and view.now_s - self._since[1] >= (self.up_s if direction > 0 else self.down_s):
            self._since = (0, view.now_s)
            return wanted
        return view.target


@dataclass
class Munjang:
    """The real policy on the model of one task, with the delays of `deployments.graph`."""

    delays: Delays
    policy: ByWork = field(default_factory=ByWork)
    name: str = "Munjang"
    report_s: float = 2.0

    def decide(self, view: View) -> int:
        since_s = view.now_s - LOOK_BACK_S
        busy = {replica: _since(series, since_s) for replica, series in view.busy.items()}
        nothing = {replica: [Sample(view.now_s, 0.0)] for replica in busy}  # what waits, waits at the ingress
        reports = {"busy": busy} | {metric: nothing for metric in METRICS if metric != "busy"}
        model = _context(MODEL, view, reports)
        ingress = _context(INGRESS, view, {MODEL: {0: _since(view.waiting, since_s)}})
        decisions, _ = self.policy({MODEL: model, INGRESS: ingress})
        return self.delays.apply(decisions[MODEL], view)


def _since(series: Sequence[Sample], since_s: float) -> Sequence[Sample]:
    return [sample for sample in series if sample.timestamp > since_s] or series[-1:]


def _context(name: str, view: View, raw_metrics: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        deployment_name=name,
        current_num_replicas=view.running,
        target_num_replicas=view.target,
        total_num_requests=view.ongoing[-1].value if view.ongoing else 0.0,
        raw_metrics=raw_metrics,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=1_000_000,
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 1.0),
    )


def average(series: Sequence[Sample], since_s: float) -> float:
    """Return the mean of the samples after this time; 0 without any."""
    values = [sample.value for sample in series if sample.timestamp > since_s]
    return sum(values) / len(values) if values else 0.0


@dataclass
class RayDefault:
    """Ray Serve's default policy: ongoing requests, averaged over `look_back_s`, by their target per replica."""

    delays: Delays
    name: str = "Ray Serve, defaults"
    report_s: float = 10.0
    target_ongoing_requests: float = 2.0
    look_back_s: float = 30.0

    def decide(self, view: View) -> int:
        ongoing = average(view.ongoing, view.now_s - self.look_back_s)
        return self.delays.apply(math.ceil(ongoing / self.target_ongoing_requests), view)


@dataclass
class Knative:
    """The rule of KServe: Knative's autoscaler by concurrency, with its stable and its panic window.

    `concurrency` is 1, because a replica of the simulation works on one request at a time; Knative's default is 100.
    In panic the number of replicas does not fall. Otherwise it falls at most to half per decision.
    """

    name: str = "KServe"
    report_s: float = 1.0
    concurrency: float = 1.0
    utilization: float = 0.7
    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_threshold: float = 2.0
    tick_s: float = 2.0
    max_down_rate: float = 2.0
    _panic_since_s: float = -math.inf
    _most: int = 0
    _decided: tuple[float, int] = (-math.inf, 0)

    def decide(self, view: View) -> int:
        if view.now_s - self._decided[0] >= self.tick_s:
            self._decided = (view.now_s, self._wanted(view))
        return self._decided[1]

    def _wanted(self, view: View) -> int:
        ready = max(1, view.running)
        target = self.concurrency * self.utilization
        stable = math.ceil(average(view.ongoing, view.now_s - self.stable_s) / target)
        panic = math.ceil(average(view.ongoing, view.now_s - self.panic_s) / target)
        lowest = math.floor(ready / self.max_down_rate)
        if panic / ready >= self.panic_threshold:
            self._panic_since_s = view.now_s
        if view.now_s - self._panic_since_s < self.stable_s:
            self._most = max(self._most, stable, panic)
            return self._most
        self._most = 0
        return max(stable, lowest)
