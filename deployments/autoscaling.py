"""Choose the number of replicas of a model deployment by its waiting work, not by request counts.

One call may carry one text or a thousand, so the number of ongoing requests, which Serve uses by default, says little
here. Each model replica reports three numbers: the share of time in which its model was busy, the seconds of work in
its queue, and how many more replicas its node can carry. Delays and bounds are still those of Serve
(`autoscaling_config`).
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

TARGET_BUSY = 0.8
TARGET_WAITING_S = 0.5


def by_waiting_work(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Return how many replicas keep the busy share near `TARGET_BUSY` and the waiting work below `TARGET_WAITING_S`,
    but no more than the nodes can carry.
    """
    metrics = context.aggregated_metrics or {}
    busy = sum(metrics.get("busy", {}).values())
    waiting_s = sum(metrics.get("waiting_s", {}).values())
    wanted = math.ceil(busy / TARGET_BUSY + waiting_s / TARGET_WAITING_S)
    wanted = min(wanted, carried(context, metrics.get("room", {})))
    bounded = min(max(wanted, context.capacity_adjusted_min_replicas), context.capacity_adjusted_max_replicas)
    return bounded, context.policy_state or {}


def carried(context: AutoscalingContext, room: dict[Any, float]) -> float:
    """The most replicas that the nodes can carry: those that run or start, or the running ones and the room for more.

    Replicas on one node report the same room, so the largest report counts and not the sum.
    """
    if not room:
        return math.inf
    running: int = context.current_num_replicas
    target: int = context.target_num_replicas
    return max(target, running + math.floor(max(room.values())))
