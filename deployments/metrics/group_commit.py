"""The metrics of the group commits in a replica of the ingress or the chat, and of what it does after its calls."""

from collections.abc import Callable

from prometheus_client import Gauge, Histogram

from deployments.metrics.registry import ITEMS, REGISTRY, SECONDS

LABELS = ("task", "items")

WAITING = Gauge("munjang_group_commit_waiting_items", "Items waiting for their call.", LABELS, registry=REGISTRY)
AGE = Gauge("munjang_group_commit_age_seconds", "How long the oldest of them has waited.", LABELS, registry=REGISTRY)
CALL_ITEMS = Histogram("munjang_call_items", "Items of a call.", LABELS, registry=REGISTRY, buckets=ITEMS)
CALL = Histogram(
    "munjang_call_seconds",
    "Time of a call from its start to its results: tokenizer, model, post-processing and the ways between.",
    LABELS,
    registry=REGISTRY,
    buckets=SECONDS,
)
POSTPROCESS = Histogram(
    "munjang_postprocess_seconds",
    "Time from the outputs of the model to the results of a call.",
    LABELS,
    registry=REGISTRY,
    buckets=SECONDS,
)


class GroupCommitMetrics:
    """Records what one group commit does. One that makes no calls has no histograms, which would have to be published.

    task   the task whose deployments it calls
    items  what its items are, such as pairs
    """

    def __init__(self, task: str = "", items: str = "") -> None:
        self._labels = (task, items)

    def watch(self, items: Callable[[], float], age_s: Callable[[], float]) -> None:
        """Have the waiting items and their age read whenever the metrics are published."""
        WAITING.labels(*self._labels).set_function(items)
        AGE.labels(*self._labels).set_function(age_s)

    def called(self, seconds: float, items: int) -> None:
        """A call returned results."""
        CALL.labels(*self._labels).observe(seconds)
        CALL_ITEMS.labels(*self._labels).observe(items)

    def postprocessed(self, seconds: float) -> None:
        """The outputs of the model became results."""
        POSTPROCESS.labels(*self._labels).observe(seconds)
