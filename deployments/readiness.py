"""Which deployments are ready. Serve's controller knows it, and may be slow, restarting or gone."""

import asyncio
import logging
import time
from collections.abc import Callable

from anyio import to_thread
from ray import serve
from ray.exceptions import RayError
from ray.serve.schema import DeploymentStatusOverview

logger = logging.getLogger("ray.serve")

FRESH_S = 1.0  # how long an answer is used before the controller is asked again
PATIENCE_S = 1.0  # how long callers wait for the controller, from when it was asked
SCALED = {"HEALTHY", "UPSCALING", "DOWNSCALING"}  # statuses of a deployment that has the replicas that it should have

States = dict[str, bool]


class Readiness:
    """By deployment, whether it is ready.

    Requests do not need the controller. So at most one thread asks it, at most once in `FRESH_S`, and while it does not
    answer, callers get its last answer: at first none.
    """

    def __init__(self, ask: Callable[[], States]) -> None:
        self._ask = ask
        self._asked_s = -FRESH_S
        self._asking: asyncio.Task[None] | None = None
        self._known: States = {}

    async def states(self) -> States:
        """The controller's last answer, which may be one second old, or older while it does not answer."""
        if self._asking is None and time.monotonic() - self._asked_s >= FRESH_S:
            self._asked_s = time.monotonic()
            self._asking = asyncio.create_task(self._update())
        left_s = self._asked_s + PATIENCE_S - time.monotonic()
        if self._asking is not None and left_s > 0:
            await asyncio.wait({self._asking}, timeout=left_s)
        return self._known

    async def _update(self) -> None:
        try:
            self._known = await to_thread.run_sync(self._ask)
        except (RayError, KeyError, TimeoutError) as error:
            logger.warning("the controller does not answer (%s)", type(error).__name__)
        finally:
            self._asking = None


def ready_deployments() -> States:
    """Ask the controller about this replica's application. Raises RayError if the controller fails."""
    application = serve.status().applications[serve.get_replica_context().app_name]
    return {name: is_ready(deployment) for name, deployment in application.deployments.items()}


def is_ready(deployment: DeploymentStatusOverview) -> bool:
    """Whether it has a running replica, or none because the autoscaling has stopped the last one or is starting one for
    a request that waits. A deployment that is being updated or that has lost its only replica has another status.
    """
    return deployment.replica_states.get("RUNNING", 0) > 0 or deployment.status in SCALED
