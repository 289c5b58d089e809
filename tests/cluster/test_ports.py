"""What other machines reach on the nodes of a cluster. SECURITY.md lists the same."""

import re
import shutil
from pathlib import Path

import httpx2
import pytest

from tests.cluster.loads import is_complete, question
from tests.cluster.network import Machine, reachable, run, wait_until
from tests.cluster.nodes import Cluster, Node
from tests.deploy.test_firewall import load
from tests.faults.conftest import Report

pytestmark = pytest.mark.cluster

SERVER = 8000
REPLICAS, FALLBACK = range(30_000, 40_000), range(8_500, 8_600)
OF_RAY = ("gcs_server", "raylet", "ray::", "ray-dashboard", "python", "ray", "serve")


def owners(machine: Machine) -> dict[int, set[str]]:
    """The names of the processes that listen on each port, on any address."""
    found: dict[int, set[str]] = {}
    for row in run(*machine.command("ss", "-Hltnp")).splitlines():
        port = int(row.split()[3].rpartition(":")[2])
        found.setdefault(port, set()).update(re.findall(r'\("([^"]+)"', row))
    return found


def all_nodes(nodes: Cluster) -> list[Node]:
    return [nodes.head, *nodes.workers.values()]


def test_beyond_the_server_and_its_replicas_only_processes_of_ray_take_connections_from_outside(
    nodes: Cluster, report: Report
) -> None:
    wait_until(lambda: is_complete(nodes), 60, "all replicas")
    for node in all_nodes(nodes):
        machine = node.machine
        of_ray = {port: names for port, names in owners(machine).items() if port in reachable(machine, [port])}
        report(node=machine.namespace, **{str(port): sorted(names) for port, names in sorted(of_ray.items())})
        assert SERVER in of_ray
        others = {port: names for port, names in of_ray.items() if port not in (SERVER, *REPLICAS, *FALLBACK)}
        assert all(name.startswith(OF_RAY) for names in others.values() for name in names), others
        assert not {8265, 8404, 9101} & set(of_ray)


def test_behind_the_firewall_only_the_server_is_reachable_from_outside_and_it_still_answers(
    nodes: Cluster, tmp_path: Path
) -> None:
    if shutil.which("nft") is None:
        pytest.skip("the program nft is missing (Debian: nftables)")
    machines = [node.machine for node in all_nodes(nodes)]
    for machine in machines:
        load(machine, machines, tmp_path)
    for node in all_nodes(nodes):
        listening = node.machine.listening()
        assert len(listening) > 5
        assert reachable(node.machine, listening) == {SERVER}
        assert httpx2.post(f"{node.url}/api", json=question(1), timeout=60).status_code == 200
        assert httpx2.get(f"{node.url}/readyz", timeout=60).status_code == 200
