"""Print what replicas of a running server report to the autoscaling, as JSON.

    python -m tests.serve.autoscaling_reports ADDRESS DEPLOYMENT...

It joins the Ray cluster at the address, and asks Serve's controller for some seconds. By deployment: the last value of
each metric of one replica, and how many reports of it came.
"""

import json
import logging
import sys
import time
from typing import Any

import ray
from ray.serve._private.common import DeploymentID
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

SECONDS, EVERY_S = 9.0, 0.25


def main(address: str, *deployments: str) -> None:
    ray.init(address, namespace=SERVE_NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    ask = ray.get_actor(SERVE_CONTROLLER_NAME)._get_metrics_for_deployment_for_testing.remote
    newest: dict[str, set[float]] = {name: set() for name in deployments}
    values: dict[str, dict[str, float]] = {}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for name in deployments:
            points = last_points(ray.get(ask(DeploymentID(name, "munjang"))))
            values[name] = {metric: point.value for metric, point in points.items()}
            newest[name] |= {max(point.timestamp for point in points.values())}
        time.sleep(EVERY_S)
    sys.stdout.write(json.dumps({name: {"values": values[name], "reports": len(newest[name])} for name in deployments}))


def last_points(metrics: dict[str, Any]) -> dict[str, Any]:
    """By metric, the last point of the first replica."""
    return {name: series[0][-1] for name, series in metrics.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
