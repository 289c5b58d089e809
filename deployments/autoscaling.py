"""Choose the number of replicas of a model deployment by its waiting work, not by request counts.

One call may carry one text or a thousand, so the number of ongoing requests, which Serve uses by default, says little
here. Each model replica reports the share of time in which its model was busy, and the seconds of work in its queue.
Delays and bounds are still those of Serve (`autoscaling_config`).
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

TARGET_BUSY = 0.8
TARGET_WAITING_S = 0.5


def by_waiting_work(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Return how many replicas keep the busy share near `TARGET_BUSY` and the waiting work below `TARGET_WAITING_S`."""
    metrics = context.aggregated_metrics or {}
    busy = sum(metrics.get("busy", {}).values())
    waiting_s = sum(metrics.get("waiting_s", {}).values())
    wanted = math.ceil(busy / TARGET_BUSY + waiting_s / TARGET_WAITING_S)
    bounded = min(max(wanted, context.capacity_adjusted_min_replicas), context.capacity_adjusted_max_replicas)
    return bounded, context.policy_state or {}
