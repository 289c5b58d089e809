"""Starts Ray on this machine with the processes that a server needs."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.serve._private.constants import SERVE_NAMESPACE

from deployments.workers.forking import forked_workers, listen, start_fork_server

PROCESSES_VARIABLE = "MUNJANG_RAY_PROCESSES"
MODULES = ("EventHead", "ReportHead", "ServeHead")
"""Parts of the dashboard: Ray's agents report events to the first, and start late without it; the second keeps the list
of agents for Prometheus; the third answers `serve deploy` and `serve status`."""


def start_ray() -> None:
    """Start Ray, or connect to the cluster that RAY_ADDRESS names, as `serve run` would.

    Ray is started without the processes that a server does not need, unless MUNJANG_RAY_PROCESSES is "all".
    """
    if os.environ.get(PROCESSES_VARIABLE) == "all":
        ray.init(namespace=SERVE_NAMESPACE)
    else:
        with needed_processes():
            ray.init(namespace=SERVE_NAMESPACE)


@contextmanager
def needed_processes() -> Iterator[None]:
    """Within the context, Ray starts no autoscaler of clusters, and of its dashboard the `MODULES` alone.

    On Linux it starts its workers as forks. Ray 2.60 has no settings for that.
    """
    start_process, start_monitor = services.start_ray_process, Node.start_monitor

    def start(command: list[str], process_type: str, *arguments: Any, **options: Any) -> Any:
        command = needed(command, process_type)
        listener = _listener(command) if process_type == ray_constants.PROCESS_TYPE_RAYLET else None
        if listener is None:
            return start_process(command, process_type, *arguments, **options)
        raylet = start_process(forked_workers(command), process_type, *arguments, **options)
        start_fork_server(listener, raylet.process.pid)
        return raylet

    services.start_ray_process, Node.start_monitor = start, lambda _node: None
    try:
        yield
    finally:
        services.start_ray_process, Node.start_monitor = start_process, start_monitor


def needed(command: list[str], process_type: str) -> list[str]:
    """The command that starts one of Ray's processes, changed as `needed_processes` says."""
    if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
        return [*command, f"--modules-to-load={','.join(MODULES)}"]
    return command


def _listener(raylet: list[str]) -> socket.socket | None:
    """The socket of the fork server of a raylet with this command; None where workers can't be forked."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return listen(raylet)
    return None
