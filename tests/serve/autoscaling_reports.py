"""Print what replicas of a running server last reported to the autoscaling, as JSON.

    python -m tests.serve.autoscaling_reports ADDRESS DEPLOYMENT...

It joins the Ray cluster at the address. By deployment and metric, the times and values are those of one replica.
"""

import json
import logging
import sys
from typing import Any

import ray
from ray.serve._private.common import DeploymentID
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE


def main(address: str, *deployments: str) -> None:
    ray.init(address, namespace=SERVE_NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    ask = ray.get_actor(SERVE_CONTROLLER_NAME)._get_metrics_for_deployment_for_testing.remote
    found = {name: reports(ray.get(ask(DeploymentID(name, "munjang")))) for name in deployments}
    sys.stdout.write(json.dumps(found))


def reports(metrics: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """By metric, the points of the first replica."""
    return {name: [(point.timestamp, point.value) for point in series[0]] for name, series in metrics.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
