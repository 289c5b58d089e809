"""The picture of the graph: each deployment with its replicas and what they report (`deployments.reports`)."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from typing_extensions import TypedDict

from deployments.calls.remote import REPLICA_LOST
from deployments.readiness import Deployed, Readiness, State, deployed
from deployments.reports import ReplicaReport

logger = logging.getLogger("ray.serve")

FRESH_S = 0.5  # how long a picture is used before the replicas are asked again
PATIENCE_S = 1.0  # how long the replicas of a deployment have to answer


class DeploymentReport(TypedDict):
    """A deployment. Replicas that did not answer in time are counted but have no report.

    state     running, asleep (it gets a replica when a request comes) or missing
    running   number of replicas that run
    starting  number of replicas that start
    replicas  reports, by the ids of the replicas
    """

    name: str
    state: State
    running: int
    starting: int
    replicas: list[ReplicaReport]


class LiveGraph:
    """Asks all replicas of the application for their reports, however many callers there are at most once in `FRESH_S`.

    The question is a broadcast of Serve's handles, which also reaches replicas that have no work, and no replica of a
    deployment that sleeps, which therefore goes on sleeping.

    handles  those of all deployments except the ingress, in the order of the picture
    """

    def __init__(self, handles: Sequence[DeploymentHandle[Any]]) -> None:
        self._handles = handles
        self._deployed = Readiness(deployed)
        self._asked_s = -FRESH_S
        self._asking: asyncio.Task[list[DeploymentReport]] | None = None

    async def deployments(self) -> list[DeploymentReport]:
        """Return all deployments, those first that requests reach first."""
        if self._asking is None or time.monotonic() - self._asked_s >= FRESH_S:
            self._asked_s = time.monotonic()
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[DeploymentReport]:
        known = await self._deployed.states()
        handles = [self._own_handle, *self._handles]
        return list(await asyncio.gather(*(_report(each, known.get(each.deployment_name)) for each in handles)))

    @cached_property
    def _own_handle(self) -> DeploymentHandle[Any]:
        """The handle of the deployment that this replica belongs to."""
        context = serve.get_replica_context()
        return DeploymentHandle(context.deployment, context.app_name)


async def _report(handle: DeploymentHandle[Any], known: Deployed | None) -> DeploymentReport:
    state, running, starting = known or Deployed("missing", 0, 0)
    replicas = await _replicas(handle) if running else []
    return {
        "name": handle.deployment_name,
        "state": state,
        "running": running,
        "starting": starting,
        "replicas": sorted(replicas, key=lambda report: report["id"]),
    }


async def _replicas(handle: DeploymentHandle[Any]) -> list[ReplicaReport]:
    """The reports of all replicas that answer; none if one of them does not answer in time."""
    try:
        answers: list[ReplicaReport | BaseException] = await handle.broadcast("report").results_async(
            timeout_s=PATIENCE_S, return_exceptions=True
        )
    except (RayServeException, TimeoutError, *REPLICA_LOST) as error:
        logger.warning("%s: no reports (%s)", handle.deployment_name, type(error).__name__)
        return []
    return [answer for answer in answers if not isinstance(answer, BaseException)]
