"""What a model replica tells the autoscaling about its node: the cores that it uses there, and those that are idle.

Serve places a replica by what it reserves (`ray_actor_options`). A replica that reserves less than it uses would fit on
a full machine, too, and make everything on it slower. Such a replica reports its cores, and `deployments.autoscaling`
starts another one only where as many are idle.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import ray

CGROUP = Path("/sys/fs/cgroup")
NODE_DIGITS = 12  # of a node's id in hexadecimal: 48 bits, which a float holds exactly


class Room:
    """Measures the idle cores of this node between reports.

    cores  cores that this replica uses while it is busy
    """

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._clock = IdleClock()

    def report(self) -> dict[str, float]:
        """Return the cores that the replica uses but has not reserved, the node's idle cores, and the node's number."""
        resources, node = placement()
        return {"cores": unreserved(self._cores, resources), "idle_cores": self._clock.idle_cores(), "node": node}


def unreserved(cores: float, resources: Mapping[str, float]) -> float:
    """Return 0 if a replica with these reserved resources has a GPU or all its cores, and otherwise its cores.

    A replica that has reserved a part of its cores counts with all of them: where there is room for the reserved part
    only, it would still compete with others for the rest.
    """
    return 0.0 if resources.get("GPU", 0) > 0 or resources.get("CPU", 0) >= cores else cores


def placement() -> tuple[Mapping[str, float], float]:
    """Return the resources that Ray reserved for this process and its node as a number; outside of Ray, none and 0."""
    if not ray.is_initialized():
        return {}, 0.0
    context = ray.get_runtime_context()
    return context.get_assigned_resources(), float(int(context.get_node_id()[:NODE_DIGITS], 16))


class IdleClock:
    """Measures how many cores were idle since the last call, within the quota of this container if it has one."""

    def __init__(self) -> None:
        self._then = self._read()

    def idle_cores(self) -> float:
        """Return the number of idle cores on average since the last call; 0 if the clock has not moved."""
        then, self._then = self._then, self._read()
        seconds = self._then[0] - then[0]
        if seconds <= 0:
            return 0.0
        idle, used = ((new - old) / seconds for new, old in zip(self._then[1:], then[1:], strict=True))
        return max(0.0, min(idle, quota() - used))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """The time, the idle seconds of all cores, and the seconds of cores that this container used."""
        times = psutil.cpu_times()
        return time.monotonic(), times.idle + getattr(times, "iowait", 0.0), used_s()


def quota() -> float:
    """Return the cores that this container may use (cgroup v2); infinite without a limit."""
    try:
        quota_us, period_us = (CGROUP / "cpu.max").read_text().split()
        return float(quota_us) / float(period_us)
    except (OSError, ValueError):  # no such file, or "max"
        return float("inf")


def used_s() -> float:
    """Return the seconds of cores that this container has used (cgroup v2); 0 where that is not counted."""
    try:
        lines = (CGROUP / "cpu.stat").read_text().splitlines()
        return next(float(line.split()[1]) / 1e6 for line in lines if line.startswith("usage_usec"))
    except (OSError, ValueError, StopIteration):
        return 0.0
