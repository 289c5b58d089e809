"""Pass the metrics of this process on to Ray, whose agent on each node offers those of all its processes to Prometheus.

The agent also has Ray's own metrics, finds new nodes and replicas by itself, and adds the labels `application`,
`deployment` and `replica`. Each value goes to Ray as a gauge, also one that only grows: Ray keeps gauges as long as
their replica lives, while its counters begin with their first increase, which Prometheus then does not see, and its
histograms have approximate sums.
"""

import threading
import time
from functools import cache

import ray
from ray.serve.metrics import Gauge

from deployments.calls.without_messages import log_failure
from deployments.metrics.registry import REGISTRY

EVERY_S = 2.0  # Ray itself exports once in `RAY_metrics_report_interval_ms`, 10 s, what it got last
CREATED = "_created"  # of the client's samples, the time when a counter was made


@cache
def start_publishing() -> None:
    """Publish every `EVERY_S` seconds, in a thread of its own, until this process ends. Outside of Ray, do nothing."""
    if ray.is_initialized():
        threading.Thread(target=_publish_for_ever, name="metrics", daemon=True).start()


def _publish_for_ever() -> None:
    gauges: dict[str, Gauge] = {}
    while True:
        try:
            publish(gauges)
        except Exception as error:  # metrics are not worth a replica
            log_failure("publishing the metrics", error)
        time.sleep(EVERY_S)


def publish(gauges: dict[str, Gauge]) -> None:
    """Set the gauges, which are made where they are missing, to the values of all metrics."""
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.endswith(CREATED):
                continue
            if sample.name not in gauges:
                gauges[sample.name] = Gauge(sample.name, family.documentation, tuple(sample.labels))
            gauges[sample.name].set(sample.value, tags=sample.labels)
