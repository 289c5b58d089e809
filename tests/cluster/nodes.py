"""A cluster of Ray nodes, each on a machine of its own, with Munjang started as docs/clusters.md says."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml

from deployments.exposure import haproxy_variables
from tests.cluster.network import Machine, Network, network, wait_until
from tests.deploy.manifests import environment as serve_env

ROOT = Path(__file__).parents[2]
START_S = 180.0
STORE_BYTES = 100_000_000
CPUS = 6
ONE_ONLY = {"PersonaChat"}
ON_DEMAND = {"ColaTokenizer", "ColaClassifier"}


class Node:
    """A Ray node that was started by `ray start --block`."""

    def __init__(self, machine: Machine, *options: str, **variables: str) -> None:
        self.machine, self.url = machine, f"http://{machine.address}:8000"
        words = ["ray", "start", "--block", "--node-ip-address", machine.address, *options]
        words += ["--object-store-memory", str(STORE_BYTES), "--disable-usage-stats"]
        self.process = start(machine, *words, **variables)

    def leave(self) -> None:
        """Do what Kubernetes does to a pod that is to end."""
        self.process.send_signal(signal.SIGTERM)

    def is_alive(self) -> bool:
        return any("raylet" in title for title in self.machine.titles())

    def answers(self, path: str = "/-/healthz") -> bool:
        try:
            return httpx2.get(self.url + path, timeout=2).status_code == 200
        except httpx2.TransportError:
            return False


class Cluster:
    """A head without replicas, and workers. All nodes have `variables` in their environment."""

    def __init__(self, network: Network, **variables: str) -> None:
        self._network, self._variables = network, variables
        self.workers: dict[str, Node] = {}
        self.start_head(network.add("head"))

    def start_head(self, machine: Machine) -> None:
        """Start the head, or another one in the place of a head that was lost."""
        options = ["--head", "--port", "6379", "--num-cpus", "0", "--num-gpus", "0"]
        self.head = Node(machine, *options, **self._variables)
        wait_until(lambda: 6379 in self.head.machine.listening(), START_S, "the head listens")

    def add(self, name: str) -> Node:
        """Add a worker of the pool that its name begins with. On this machine, GPUs are only numbers."""
        pool = name.rstrip("0123456789")
        options = ["--address", f"{self.head.machine.address}:6379", "--labels", f"munjang/pool={pool}"]
        options += ["--num-cpus", str(CPUS), "--num-gpus", "1" if pool == "gpu" else "0"]
        self.workers[name] = Node(self._network.add(name), *options, **self._variables)
        return self.workers[name]

    def serve(self, config: Path) -> "Launcher":
        address = f"{self.head.machine.address}:6379"
        words = [sys.executable, "-m", "deployments", "serve", str(config)]
        return Launcher(start(self.head.machine, *words, output=subprocess.PIPE, RAY_ADDRESS=address))

    def replicas(self) -> dict[str, list[str]]:
        """The deployments of the replicas on each worker."""
        return {name: node.machine.replicas() for name, node in self.workers.items()}

    def count(self, deployment: str) -> int:
        return sum(names.count(deployment) for names in self.replicas().values())


class Launcher:
    """`munjang serve` on the head."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process, self._lines = process, list[str]()
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.append(line)
                if line.startswith("Munjang is ready"):
                    self._ready.set()

    def wait_until_ready(self) -> Self:
        assert self._ready.wait(START_S), f"not ready within {START_S} s:\n{''.join(self._lines)}"
        return self


def start(machine: Machine, *words: str, output: int = subprocess.DEVNULL, **more: str) -> "subprocess.Popen[str]":
    """Start a program with the environment that docs/clusters.md asks for."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "OMP_NUM_THREADS")}
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-of-the-tests", "PYTHONPATH": str(ROOT)}
    ours["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "630"
    ours["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        machine.command(*words),
        cwd=ROOT,
        env=serve_env() | haproxy_variables() | inherited | ours | more,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    machine.started.append(process)
    return process


def gpu_config(folder: Path, checkpoints: dict[str, Path], most: int = 2) -> Path:
    """deploy/serve_config.gpu.yaml with tiny checkpoints on CPUs: `most` replicas of each deployment, one chat, none
    of the grammar task until it is asked for.
    """
    config = yaml.safe_load((ROOT / "deploy" / "serve_config.gpu.yaml").read_text(encoding="utf-8"))
    application = config["applications"][0]
    args: dict[str, Any] = {
        task: {"checkpoint": str(path), "group_commit": {"max_calls": 8}} for task, path in checkpoints.items()
    }
    args |= {"chat": {"stores": str(folder / "stores")}, "jobs": {"folder": str(folder / "jobs")}}
    args |= {"ingress": {"access": {"allow_anonymous": True}}}
    application["args"] = args
    for deployment in application["deployments"]:
        name = deployment["name"]
        replicas = 0 if name in ON_DEMAND else 1 if name in ONE_ONLY else most
        deployment["autoscaling_config"] |= {"min_replicas": replicas, "max_replicas": max(1, replicas)}
    config["logging_config"]["encoding"] = "TEXT"
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextmanager
def cluster(
    folder: Path, config: Path, *workers: str, variables: Callable[[Network], dict[str, str]] = lambda _: {}
) -> Iterator[Cluster]:
    """Yield a cluster with these workers that serves the configuration; `variables` gives those of all nodes."""
    with network(folder) as machines:
        started = Cluster(machines, **variables(machines))
        for name in workers:
            started.add(name)
        started.serve(config).wait_until_ready()
        yield started
