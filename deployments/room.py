"""How many more replicas like this one its node can carry."""

from collections.abc import Mapping

import psutil
import ray

UNLIMITED = 1_000_000.0
"""For a replica that reserves what it uses: Ray starts the next one where there is room, or asks for a further node."""


class Room:
    """Compares the idle cores of the node with those that the replica uses when it is busy.

    Ray may place a replica that reserves fewer cores than it uses on a node that has none idle, where a second one only
    slows down the first. By default all reserve fewer, so that the graph starts on two cores.
    """

    def __init__(self, cores: int, reserved: Mapping[str, float]) -> None:
        self._cores = cores
        self._reserves_its_use = reserved.get("GPU", 0) > 0 or reserved.get("CPU", 0) >= cores
        psutil.cpu_percent()  # begins the first interval

    def replicas(self) -> float:
        """Further replicas for which the node had idle cores since the last call, rounded to whole ones."""
        if self._reserves_its_use:
            return UNLIMITED
        idle = (psutil.cpu_count() or 1) * (1 - psutil.cpu_percent() / 100)
        return float(round(idle / self._cores))


def reserved_resources() -> Mapping[str, float]:
    """What Ray has reserved for this replica, such as {"CPU": 0.05}; nothing outside of Ray."""
    if not ray.is_initialized():
        return {}
    reserved: Mapping[str, float] = ray.get_runtime_context().get_assigned_resources()
    return reserved
