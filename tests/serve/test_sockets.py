"""What a running server listens on. SECURITY.md lists the same."""

import stat
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.serve.server import Server

pytestmark = pytest.mark.serve

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
OF_RAY = ("gcs_server", "raylet", "ray::", "ray-dashboard", "python", "serve")
"""Beginnings of the names of Ray's own processes, whose control plane listens on all interfaces."""


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses and ports; none for a process that has ended."""
    try:
        found = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [(connection.laddr.ip, connection.laddr.port) for connection in found if connection.status == "LISTEN"]


def of_haproxy(server: Server) -> list[psutil.Process]:
    return [process for process in server.processes() if process.name() == "haproxy"]


def answers_http(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


def test_all_ports_of_haproxy_are_on_loopback(server: Server) -> None:
    addresses = {address for process in of_haproxy(server) for address in listening(process)}
    assert int(server.url.rpartition(":")[2]) in {port for _, port in addresses}
    assert len(addresses) >= 3  # the server, statistics and metrics
    assert {ip for ip, _ in addresses} == {"127.0.0.1"}


def test_the_ingress_answers_http_on_loopback_only(server: Server) -> None:
    addresses = [address for replica in server.replicas("Ingress") for address in listening(replica)]
    assert {ip for ip, port in addresses if answers_http(port)} == {"127.0.0.1"}


def test_only_processes_of_ray_listen_beyond_loopback(server: Server) -> None:
    open_processes = {
        process.name() for process in server.processes() if any(ip not in LOOPBACK for ip, _ in listening(process))
    }
    assert all(name.startswith(OF_RAY) for name in open_processes), open_processes


def test_only_the_user_of_the_server_may_write_to_the_admin_socket_of_haproxy(server: Server) -> None:
    paths = {
        Path(connection.laddr.partition(".sock")[0] + ".sock")  # HAProxy binds another name, and renames it
        for process in of_haproxy(server)
        for connection in process.net_connections("unix")
        if ".sock" in str(connection.laddr)
    }
    assert paths
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths), paths
