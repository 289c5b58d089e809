"""deploy/firewall.nft, loaded on two machines that are network namespaces."""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.checkpoints.resolve import ROOT
from tests.cluster.network import Machine, network, reachable, run, wait_until, why_not

SERVER, OTHER = 8000, 9000

pytestmark = pytest.mark.slow


def listen(machine: Machine, port: int) -> "subprocess.Popen[bytes]":
    command = machine.command(sys.executable, "-m", "http.server", str(port))
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(machine: Machine, nodes: list[Machine], folder: Path) -> None:
    """Load the firewall with the addresses of these nodes, as its comment says."""
    rules = (ROOT / "deploy" / "firewall.nft").read_text(encoding="utf-8")
    addresses = ", ".join(node.address for node in nodes)
    (file := folder / "firewall.nft").write_text(rules.replace("{ 127.0.0.1 }", f"{{ {addresses} }}"))
    run(*machine.command("nft", "-f", str(file)))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    """Two machines that listen on two ports each."""
    if reason := why_not():
        pytest.skip(reason)
    if shutil.which("nft") is None:
        pytest.skip("the program nft is missing (Debian: nftables)")
    with network(tmp_path) as net, ExitStack() as stack:
        two = [net.add("one"), net.add("two")]
        for machine in two:
            for port in (SERVER, OTHER):
                stack.enter_context(listen(machine, port))
            wait_until(lambda machine=machine: machine.listening() == {SERVER, OTHER}, 20, "the servers listen")
        yield two
        for machine in two:
            machine.kill()


def test_others_reach_the_server_only_and_the_nodes_reach_each_other(machines: list[Machine], tmp_path: Path) -> None:
    one, two = machines
    assert reachable(one, {SERVER, OTHER}) == {SERVER, OTHER}
    load(one, machines, tmp_path)
    load(one, machines, tmp_path)  # again, as at the next start
    assert reachable(one, {SERVER, OTHER}) == {SERVER}
    request = f"import urllib.request as r; r.urlopen('http://{one.address}:{OTHER}', timeout=5)"
    run(*two.command(sys.executable, "-c", request))


def test_the_shipped_rules_without_other_nodes_let_the_machine_reach_itself(
    machines: list[Machine], tmp_path: Path
) -> None:
    (one, _), shipped = machines, str(ROOT / "deploy" / "firewall.nft")
    run(*one.command("nft", "-f", shipped))
    assert reachable(one, {SERVER, OTHER}) == {SERVER}
    assert urllib.request.urlopen(f"http://{one.address}:{SERVER}", timeout=5).status == 200
    request = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{OTHER}', timeout=5)"
    run(*one.command(sys.executable, "-c", request))
