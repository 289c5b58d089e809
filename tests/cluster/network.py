"""Machines of a network that this machine imitates: network namespaces, each with an address of its own.

The namespaces share a bridge with this machine, which is what reaches them from outside. They share its files, except
for the folders of Ray and HAProxy, and its processes.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

OWN_FOLDERS = ("/tmp/ray", "/tmp/haproxy-serve")
LISTENING = "0A"  # the state in /proc/net/tcp
LOOPBACK_6 = "00000000000000000000000001000000"  # ::1 in /proc/net/tcp6, whose words are little-endian


class Machine:
    """A namespace with an address; commands that run in it see folders of their own in place of `OWN_FOLDERS`."""

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace, self.address = namespace, address
        self.started: list[subprocess.Popen[str]] = []
        self._folder = folder

    def command(self, *words: str) -> list[str]:
        """The command that runs these words in the namespace, as the same process."""
        mounts = []
        for own in OWN_FOLDERS:
            Path(own).mkdir(exist_ok=True)
            (private := self._folder / own.removeprefix("/tmp/")).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {private} {own}")
        script = " && ".join([*mounts, 'exec "$@"'])
        return ["ip", "netns", "exec", self.namespace, "sh", "-c", script, "sh", *words]

    def processes(self) -> list[psutil.Process]:
        found = run("ip", "netns", "pids", self.namespace).split()
        processes = []
        for pid in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.append(psutil.Process(int(pid)))
        return processes

    def titles(self) -> list[str]:
        """The titles of all processes, such as ray::ServeReplica:munjang:Ingress."""
        titles = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                titles += process.cmdline()[:1]
        return titles

    def replicas(self) -> list[str]:
        """The deployments of the replicas that run here, one name for each replica, in alphabetical order.

        While a replica answers its controller, its title also has the name of the method.
        """
        start = "ray::ServeReplica:munjang:"
        titles = [title.removeprefix(start) for title in self.titles() if title.startswith(start)]
        return sorted(re.split(r"[. ]", title, maxsplit=1)[0] for title in titles)

    def listening(self) -> set[int]:
        """The TCP ports on which any process here listens beyond loopback."""
        tables = run(*self.command("cat", "/proc/net/tcp", "/proc/net/tcp6"))
        rows = [line.split() for line in tables.splitlines() if line.split()[0] != "sl"]
        places = [row[1].split(":") for row in rows if row[3] == LISTENING]
        return {int(port, 16) for ip, port in places if not is_loopback(ip)}

    def kill(self) -> None:
        """Kill all processes at once."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(self.processes(), timeout=10)
        for started in self.started:
            started.wait(10)

    def wipe(self) -> None:
        """Delete its own folders: a new container in its place has none of their files."""
        shutil.rmtree(self._folder)


def reachable(machine: Machine, ports: Iterable[int]) -> set[int]:
    """Those ports on which the machine takes connections from this one."""
    return {port for port in ports if is_open(machine.address, port)}


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex((address, port)) == 0


def is_loopback(ip: str) -> bool:
    """Whether an address of /proc/net/tcp is one of this machine alone, such as 0100007F."""
    return ip == LOOPBACK_6 or (ip.endswith("7F") and (len(ip) == 8 or "FFFF0000" in ip))


class Network:
    """A bridge with up to 250 machines, in a private range that depends on this process."""

    def __init__(self, folder: Path) -> None:
        number = os.getpid() % 250
        self._bridge, self._folder, self._count = f"munjang{number}", folder, 1
        self._prefix = f"10.231.{number}"
        self.machines: list[Machine] = []
        self._links: list[str] = []
        self.range = f"{self._prefix}.0/24"

    @property
    def outside(self) -> str:
        """The address of this machine in the network."""
        return f"{self._prefix}.1"

    def start(self) -> None:
        run("ip", "link", "add", self._bridge, "type", "bridge")
        run("ip", "address", "add", f"{self._prefix}.1/24", "dev", self._bridge)
        run("ip", "link", "set", self._bridge, "up")

    def add(self, name: str) -> Machine:
        """Add a machine with the next address."""
        self._count += 1
        namespace, inner, outer = f"{self._bridge}-{name}", "eth0", f"{self._bridge}-{self._count}"
        machine = Machine(namespace, f"{self._prefix}.{self._count}", self._folder / name)
        run("ip", "netns", "add", namespace)
        self.machines.append(machine)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace)
        self._links.append(outer)
        run("ip", "link", "set", outer, "master", self._bridge, "up")
        run("ip", "-n", namespace, "address", "add", f"{machine.address}/24", "dev", inner)
        run("ip", "-n", namespace, "link", "set", inner, "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "route", "add", "default", "via", f"{self._prefix}.1")
        return machine

    def stop(self) -> None:
        for machine in self.machines:
            machine.kill()
        for link in self._links:  # at once; the kernel removes those of a deleted namespace only some time later
            run("ip", "link", "delete", link)
        for machine in self.machines:
            run("ip", "netns", "delete", machine.namespace)
        run("ip", "link", "delete", self._bridge)


def run(*words: str) -> str:
    """Run a command that takes at most a minute, and return its output."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def why_not() -> str | None:
    """Why this machine can't imitate a network; None if it can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "the program ip is missing (Debian: iproute2)"
    probe = f"munjang-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine allows no network namespaces"
    run("ip", "netns", "delete", probe)
    return None


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Yield a network; at the end all processes of its machines are killed."""
    network = Network(folder)
    network.start()
    try:
        yield network
    finally:
        network.stop()


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until the condition holds. Returns the seconds that it took."""
    begun_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begun_s < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - begun_s
