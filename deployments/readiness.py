"""Which deployments can answer. Serve's controller knows it, and may be slow, restarting or gone."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

from anyio import to_thread
from ray import serve
from ray.exceptions import RayError
from ray.serve.schema import DeploymentStatusOverview, ReplicaState

logger = logging.getLogger("ray.serve")

FRESH_S = 1.0  # how long an answer is used before the controller is asked again
PATIENCE_S = 1.0  # how long callers wait for the controller, from when it was asked
SCALED = {"HEALTHY", "UPSCALING", "DOWNSCALING"}  # statuses of a deployment that has the replicas that it should have

State = Literal["running", "asleep", "missing"]
"""asleep: it has no running replica, and gets one when a request comes. missing: it has none, but should."""
States = dict[str, State]


class Deployed(NamedTuple):
    """The state of a deployment, and how many of its replicas run and start."""

    state: State
    running: int
    starting: int


Known = TypeVar("Known")


class Readiness(Generic[Known]):
    """What the controller knows of each deployment, by name.

    Requests do not need the controller. So at most one thread asks it, at most once in `FRESH_S`, and while it does not
    answer, callers get its last answer: at first none.
    """

    def __init__(self, ask: Callable[[], dict[str, Known]]) -> None:
        self._ask = ask
        self._asked_s = -FRESH_S
        self._asking: asyncio.Task[None] | None = None
        self._known: dict[str, Known] = {}

    async def states(self) -> dict[str, Known]:
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


def deployment_states() -> States:
    """Ask the controller about this replica's application. Raises RayError if the controller fails."""
    return {name: known.state for name, known in deployed().items()}


def deployed() -> dict[str, Deployed]:
    """Ask the same, with the numbers of replicas. Raises RayError."""
    application = serve.status().applications[serve.get_replica_context().app_name]
    return {name: deployed_of(deployment) for name, deployment in application.deployments.items()}


def deployed_of(deployment: DeploymentStatusOverview) -> Deployed:
    """The state and the numbers of replicas of a deployment."""
    states = deployment.replica_states
    return Deployed(state_of(deployment), states.get(ReplicaState.RUNNING, 0), states.get(ReplicaState.STARTING, 0))


def state_of(deployment: DeploymentStatusOverview) -> State:
    """The state of a deployment. One that is being updated, or has lost its only replica, has none of the statuses of
    one that the autoscaling has scaled to zero or scales up again.
    """
    if deployment.replica_states.get("RUNNING", 0) > 0:
        return "running"
    return "asleep" if deployment.status in SCALED else "missing"
