"""Choose the replicas of all deployments together, by the work that waits for the models.

One call may carry one text or a thousand, so the number of ongoing requests, which Serve uses by default, says little
about a model. `serve_config.yaml` names `ByWork` as the policy of the application. Delays, factors and bounds are those
of each deployment (`autoscaling_config`); Serve applies them to the numbers that the policy returns.

Serve pickles this module by value and calls the policy ten times per second in its controller's loop, so the policy
imports nothing of this project and does no I/O.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

TASKS = (("StsTokenizer", "StsEncoder"), ("ColaTokenizer", "ColaClassifier"), ("QaTokenizer", "QaExtractor"))
INGRESS = "Ingress"
METRICS = ("busy", "waiting_s", "cores", "idle_cores", "node")

ROUNDING = 1e-6  # what a sum of shares may exceed a whole number by without meaning one more replica
LEAST_IDLE = 0.4  # share of a new replica's cores that must be idle

Id: TypeAlias = Any  # Serve's DeploymentID
Contexts: TypeAlias = Mapping[Id, Any]  # Serve's AutoscalingContext of each deployment
Report: TypeAlias = Mapping[str, Sequence[Any]]  # of a replica: by metric, recent values with timestamps, none empty


@dataclass(frozen=True)
class Load:
    """What the replicas of a model reported.

    offered    work that arrives, in seconds of one replica's time per second
    waiting_s  seconds of one replica's time that the waiting work takes
    cores      cores that one busy replica uses without having reserved them; 0: Serve finds room for it by itself
    """

    offered: float
    waiting_s: float
    cores: float


@dataclass(frozen=True)
class ByWork:
    """The policy of the application. Its settings are the `policy_kwargs` in serve_config.yaml.

    target_delay_s        the work that waits for a model is to be done within this time
    target_busy           the share of time in which a replica is to be busy
    models_per_tokenizer  replicas of a model that one tokenizer replica serves
    models_per_ingress    replicas of a model that the calls of one ingress replica keep busy: half of
                          `group_commit.max_calls`

    A model gets the replicas that its offered and its waiting work take, but none for which no node has idle cores.
    Tokenizers, chat and ingress get the replicas that their ongoing requests take, as with Serve's own rule, and no
    fewer than their models need. A deployment without work gets 0 replicas, if its bounds allow that. The deployments
    of a task start from 0 together.
    """

    target_delay_s: float = 3.0
    target_busy: float = 0.8
    models_per_tokenizer: float = 4
    models_per_ingress: float = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that is no number above 0."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{field.name}: {value!r} is no number above 0")

    def __call__(self, contexts: Contexts) -> tuple[dict[Id, int], None]:
        """Return the number of replicas that each deployment should have, within its bounds."""
        by_name = {context.deployment_name: context for context in contexts.values()}
        wanted = {name: by_requests(context) for name, context in by_name.items()}
        wanted |= self._models({model: by_name[model] for _, model in TASKS if model in by_name}, by_name.get(INGRESS))
        for tokenizer, model in TASKS:
            if tokenizer in by_name and model in by_name:
                self._together(tokenizer, model, by_name, wanted)
        models = max((wanted.get(model, 0) for _, model in TASKS), default=0)
        if INGRESS in wanted:
            wanted[INGRESS] = max(wanted[INGRESS], math.ceil(models / self.models_per_ingress))
        return {key: within_bounds(wanted[context.deployment_name], context) for key, context in contexts.items()}, None

    def _models(self, contexts: Mapping[str, Any], ingress: Any) -> dict[str, int]:
        """The replicas of all models.

        Idle cores go to replicas that have just started or are starting, then to the model with the most waiting work.
        """
        reports = {name: reports_of(context) for name, context in contexts.items()}
        at_ingress = (ingress and ingress.raw_metrics) or {}
        loads = {name: load_of(some, at_ingress.get(name, {}).values()) for name, some in reports.items()}
        idle = idle_cores([(some, self.share_busy(loads[name], len(some))) for name, some in reports.items()])
        starting, granted = {}, {}
        for name, context in contexts.items():
            silent = max(0, context.current_num_replicas - len(reports[name]))  # they have not reported yet
            starting[name] = max(0, context.target_num_replicas - context.current_num_replicas)
            granted[name] = take_cores(silent + starting[name], loads[name].cores, idle) - silent
        wanted = {}
        for name in sorted(contexts, key=lambda name: -loads[name].waiting_s):
            running = contexts[name].current_num_replicas
            ideal = within_bounds(self.replicas(loads[name]), contexts[name])
            more = take_cores(max(0, ideal - running - starting[name]), loads[name].cores, idle)
            wanted[name] = min(ideal, running + max(0, granted[name] + more))
        return wanted

    def replicas(self, load: Load) -> int:
        """Return the number of replicas that keep up with the work and do what waits within the target delay."""
        return math.ceil(load.offered / self.target_busy + load.waiting_s / self.target_delay_s - ROUNDING)

    def share_busy(self, load: Load, replicas: int) -> float:
        """Return the share of time in which the work will keep so many replicas busy."""
        return min(1.0, (load.offered + load.waiting_s / self.target_delay_s) / max(1, replicas))

    def _together(self, tokenizer: str, model: str, contexts: Mapping[str, Any], wanted: dict[str, int]) -> None:
        """Let the tokenizer and the model of a task start together, and the tokenizers keep up with the models."""
        if any(contexts[name].total_num_requests > 0 for name in (tokenizer, model)):
            wanted[model] = max(1, wanted[model])
        models = within_bounds(wanted[model], contexts[model])
        if wanted[model]:
            wanted[tokenizer] = max(wanted[tokenizer], math.ceil(models / self.models_per_tokenizer))


def by_requests(context: Any) -> int:
    """Return the replicas for the ongoing requests: Serve's own rule, before delays."""
    replicas: float = context.total_num_requests / context.config.get_target_ongoing_requests()
    return math.ceil(replicas - ROUNDING)


def within_bounds(replicas: int, context: Any) -> int:
    """Return the number within the bounds of the deployment."""
    lower, upper = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return int(min(max(replicas, lower), upper))


def reports_of(context: Any) -> list[Report]:
    """Return the report of each replica that has sent all metrics."""
    raw = context.raw_metrics or {}
    replicas = [key for key in raw.get(METRICS[0], {}) if all(raw.get(metric, {}).get(key) for metric in METRICS)]
    return [{metric: raw[metric][key] for metric in METRICS} for key in replicas]


def load_of(reports: Sequence[Report], at_ingress: Iterable[Sequence[Any]] = ()) -> Load:
    """Sum up what the replicas of a model reported, and the work that waits for the model at each ingress replica.

    Busy replicas do not show what arrives beyond their capacity: it makes the waiting work grow. So the growth of the
    waiting work is part of the offered work.
    """
    waiting = [report["waiting_s"] for report in reports] + [series for series in at_ingress if series]
    offered = sum(_mean(report["busy"]) for report in reports) + sum(map(_growth, waiting))
    cores = max((report["cores"][-1].value for report in reports), default=0.0)
    return Load(max(0.0, offered), sum(series[-1].value for series in waiting), cores)


def _mean(series: Sequence[Any]) -> float:
    return float(sum(point.value for point in series) / len(series))


def _growth(series: Sequence[Any]) -> float:
    """The growth per second."""
    seconds = series[-1].timestamp - series[0].timestamp
    return float((series[-1].value - series[0].value) / seconds) if seconds > 0 else 0.0


def idle_cores(models: Iterable[tuple[Sequence[Report], float]]) -> dict[float, float]:
    """By node, its idle cores without those that its replicas are about to use.

    models  the reports of each model, and the share of time in which its work will keep its replicas busy

    A replica without work, as of a task that nobody uses, keeps no cores. All replicas on a node report its idle cores,
    of which the least number counts, on average and in the last report: the average still has the time before a step.
    """
    measured: dict[float, float] = {}
    claimed: dict[float, float] = {}
    for reports, share in models:
        for report in reports:
            node, cores, busy = (report[name][-1].value for name in ("node", "cores", "busy"))
            idle = min(_mean(report["idle_cores"]), report["idle_cores"][-1].value)
            measured[node] = min(measured.get(node, math.inf), idle)
            claimed[node] = claimed.get(node, 0.0) + cores * max(0.0, share - busy)
    return {node: idle - claimed[node] for node, idle in measured.items()}


def take_cores(replicas: int, cores: float, idle: dict[float, float]) -> int:
    """Take the cores of so many replicas from the idle ones. Returns for how many of them there were enough.

    The last replica on a node may find as little as `LEAST_IDLE` of its cores idle: tokenizers, ingress and callers
    need some of the time, too.
    """
    if cores <= 0:
        return replicas
    taken = 0
    for node in sorted(idle, key=lambda node: -idle[node]):
        room = idle[node] / cores + 1 - LEAST_IDLE + ROUNDING
        fitting = math.floor(max(0.0, min(replicas - taken, room)))
        idle[node] -= fitting * cores
        taken += fitting
    return taken
