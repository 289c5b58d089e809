"""How many replicas a model deployment should have: by waiting work, not by request counts.

One call may carry one text or a thousand, so Serve's own signal, ongoing requests, says little here. Each model
replica reports the share of time its model was busy and the seconds of work in its queue; delays and bounds stay
Serve's (`autoscaling_config`).
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

TARGET_BUSY = 0.8
TARGET_WAITING_S = 0.5


def by_waiting_work(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Replicas so that each is busy `TARGET_BUSY` of the time with `TARGET_WAITING_S` of work waiting at most."""
    metrics = context.aggregated_metrics or {}
    busy = sum(metrics.get("busy", {}).values())
    waiting_s = sum(metrics.get("waiting_s", {}).values())
    wanted = math.ceil(busy / TARGET_BUSY + waiting_s / TARGET_WAITING_S)
    bounded = min(max(wanted, context.capacity_adjusted_min_replicas), context.capacity_adjusted_max_replicas)
    return bounded, context.policy_state or {}
