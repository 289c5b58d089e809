"""Ports for the processes of a server that no other server on this machine uses."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

PORTS_EACH = 1_000
REPLICA_PORTS: Sequence[int] = range(30_000, 40_000, PORTS_EACH)
FALLBACK_PORTS = range(8_500, 8_600)
RESERVED: list[FileLock] = []


def own_ports() -> dict[str, str]:
    """Serve's environment variables for ports that this server alone uses on this machine.

    On these ports HAProxy reaches the replicas of the ingress and, while there are none, Serve's own proxy. Serve binds
    them with SO_REUSEPORT, so two servers could bind the same port, and each would get some of the other's requests.
    """
    first = _reserve("replicas", REPLICA_PORTS)
    ports = {
        "DIRECT_INGRESS_MIN_HTTP_PORT": first,
        "DIRECT_INGRESS_MAX_HTTP_PORT": first + PORTS_EACH - 1,
        "FALLBACK_PROXY_HTTP_PORT": _reserve("proxy", FALLBACK_PORTS),
    }
    return {f"RAY_SERVE_{name}": str(port) for name, port in ports.items()}


def _reserve(use: str, ports: Sequence[int]) -> int:
    """The first port that nobody listens on and no other launcher has reserved; the first of all if none is free.

    Serve begins to listen some time later. Until then, and as long as this process lives, a lock file keeps other
    launchers from choosing the same port.
    """
    for port in ports:
        lock = FileLock(Path(tempfile.gettempdir()) / f"munjang-{os.getuid()}-{use}-{port}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            if not is_taken(port):
                RESERVED.append(lock)
                return port
            lock.release()
    return ports[0]


def is_taken(port: int) -> bool:
    """Whether a process of this machine listens on the port."""
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
