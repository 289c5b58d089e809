"""What each replica reports about its work, for the picture of the graph (`GET /v1/graph`).

Sums count from the start of the replica and only grow, so whoever asks twice knows what happened in between, as with
the counters of Prometheus. Shares and means are those of the last seconds. Nothing is computed until somebody asks.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from ray import serve
from ray.serve.exceptions import RayServeException
from typing_extensions import TypedDict

from deployments.autoscaling import TASKS
from deployments.calls.group_commit import GroupCommit

RECENT_S = 3.0  # shares and means cover at least so many seconds, or the time since the question before


class Sums(NamedTuple):
    """The work of a replica since its start.

    busy_s   seconds of its threads: of the model threads, or the CPU time of a process without a model
    batches  batches that a model ran, or calls that tokenized or carried items
    items    items in those batches
    tokens   their tokens without padding, `padded` with it; 0 where there are no tokens
    """

    busy_s: float
    batches: int
    items: int
    tokens: int = 0
    padded: int = 0


class ReplicaReport(TypedDict):
    """The report of one replica.

    id          the replica's id
    busy        share of the last seconds in which it worked, 0 to 1: the model threads of a model, a core of others
    waiting     items that wait here, now
    requests    requests with a body, or calls from other deployments, since the start
    batches     batches since the start: of a model, of a tokenizer, or calls that the ingress or the chat made
    items       items in those batches
    mean_batch  items per batch in the last seconds; null without a batch
    padding     share of padded tokens in the batches of a model in the last seconds; null without a batch
    calls       calls that it made since the start, by deployment
    """

    id: str
    busy: float
    waiting: int
    requests: int
    batches: int
    items: int
    mean_batch: float | None
    padding: float | None
    calls: dict[str, int]


class Recent:
    """Makes reports from sums. It remembers the sums of the last `RECENT_S` seconds.

    read     gives the sums up to now
    threads  number of threads that `busy_s` counts
    """

    def __init__(self, read: Callable[[], Sums], threads: int = 1) -> None:
        self._read = read
        self._threads = threads
        self._past = deque([(time.monotonic(), read())])

    def report(self, *, requests: int, waiting: int = 0, calls: Mapping[str, int] | None = None) -> ReplicaReport:
        """Report the sums, and what happened since the oldest sums that are remembered."""
        now_s, sums = time.monotonic(), self._read()
        then_s, before = self._reference(now_s)
        self._past.append((now_s, sums))
        busy_s, batches, items, tokens, padded = (new - old for new, old in zip(sums, before, strict=True))
        return {
            "id": replica_id(),
            "busy": min(1.0, busy_s / self._threads / max(now_s - then_s, 1e-9)),
            "waiting": waiting,
            "requests": requests,
            "batches": sums.batches,
            "items": sums.items,
            "mean_batch": items / batches if batches else None,
            "padding": 1 - tokens / padded if padded else None,
            "calls": dict(calls or {}),
        }

    def _reference(self, now_s: float) -> tuple[float, Sums]:
        """Return the newest sums that are `RECENT_S` old, or the oldest that there are."""
        while len(self._past) > 1 and self._past[1][0] <= now_s - RECENT_S:
            self._past.popleft()
        return self._past[0]


class CallReports:
    """Makes reports of a replica that calls the tasks' deployments through group commits.

    group_commits  those of each model. One of their calls is a call to the task's tokenizer and one to its model
    """

    def __init__(self, group_commits: Mapping[str, Sequence[GroupCommit[Any, Any]]]) -> None:
        self._group_commits = group_commits
        self._recent = Recent(self._sums)

    def report(self, *, requests: int, calls: Mapping[str, int] | None = None) -> ReplicaReport:
        """Report the calls of the group commits, and other calls by deployment."""
        counted = {model: sum(each.calls for each in some) for model, some in self._group_commits.items()}
        by_name = {
            name: counted[model] for tokenizer, model in TASKS for name in (tokenizer, model) if model in counted
        }
        waiting = sum(each.waiting_items for each in self._all())
        return self._recent.report(requests=requests, waiting=waiting, calls=by_name | dict(calls or {}))

    def _sums(self) -> Sums:
        calls = items = 0
        for each in self._all():
            calls, items = calls + each.calls, items + each.items
        return Sums(time.process_time(), calls, items)

    def _all(self) -> Iterator[GroupCommit[Any, Any]]:
        return chain.from_iterable(self._group_commits.values())


def replica_id() -> str:
    """Return the id of the replica that runs in this process; empty outside of Serve."""
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except RayServeException:
        return ""
