"""A real server, as `make serve` starts it, on ports of its own and in a session of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from deployments.launch import dashboard_address

ROOT = Path(__file__).parents[2]
START_S = 240.0  # a loaded machine of 2 cores takes its time; a healthy one needs a tenth of it
STOP_S = 30.0


class Server:
    """`python -m deployments.launch` on a config file, and all of its output so far."""

    def __init__(self, config: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{yaml.safe_load(config.read_text())['http_options']['port']}"
        self._environment = environment
        self._lines: list[str] = []
        self._ready = threading.Event()
        self._ended = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deployments.launch", str(config), *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_ignore_interrupts,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.append(line)
                if line.startswith("Munjang is ready"):
                    self._ready.set()
        self._ended.set()
        self._ready.set()

    def wait_until_ready(self) -> Self:
        assert self._ready.wait(START_S), f"not ready within {START_S} s:\n{self.output}"
        assert not self._ended.is_set(), f"ended before it was ready:\n{self.output}"
        return self

    def processes(self) -> list[psutil.Process]:
        """Every process of the tree, Ray's included."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def replica(self, deployment: str) -> psutil.Process:
        """The process of a replica of `deployment`."""
        return self.replicas(deployment)[0]

    def replicas(self, deployment: str = "") -> list[psutil.Process]:
        """The processes of all replicas of `deployment`, or of all deployments."""
        title = re.compile(f"ray::ServeReplica:munjang:{deployment or '.*'}")
        return [process for process in self.processes() if title.fullmatch(_title(process))]

    def deploy(self, config: Path) -> None:
        """`serve deploy`, which returns as soon as the update has begun."""
        (session,) = [process.pid for process in psutil.Process(self.process.pid).children()]
        address = dashboard_address(session)
        assert address is not None
        command = ["serve", "deploy", str(config), "--address", address]
        environment = os.environ | {"PATH": self._environment["PATH"], "RAY_AUTH_MODE": "token"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """End whatever is left, at once."""
        if self.process.poll() is None:
            for process in self.processes():
                process.kill()
        self.process.wait()

    def stop(self, within_s: float = STOP_S) -> list[psutil.Process]:
        """One interrupt; what is still alive `within_s` seconds later."""
        if self.process.poll() is not None:
            return []
        processes, until_s = self.processes(), time.monotonic() + within_s
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=max(0, until_s - time.monotonic()))[1]
        return alive


def _title(process: psutil.Process) -> str:
    try:
        return next(iter(process.cmdline()), "")
    except psutil.NoSuchProcess:  # a zombie is one, too
        return ""


def _ignore_interrupts() -> None:
    """As a shell starts a background job: the server must be stoppable all the same."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def running(config: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Server]:
    """A ready server for as long as the context lasts; it leaves no process behind."""
    server = Server(config, environment, *arguments)
    left: list[psutil.Process] = []
    try:
        yield server.wait_until_ready()
        left = server.stop()
    finally:
        server.kill()
        for process in left:
            process.kill()
    assert not left, f"outlived its server: {left}"


def environment(*, fast: bool = True, **more: str) -> dict[str, str]:
    """This process's variables with those of deploy/serve.env; `fast` False leaves them out, as a bare `serve run`."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_ADDRESS": "local",  # never join a cluster that happens to run here
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_LOG_TO_STDERR": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
    }
    return dict(os.environ) | (_serve_env() if fast else {}) | own | more


def _serve_env() -> dict[str, str]:
    lines = (ROOT / "deploy" / "serve.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def write_config(folder: Path, **args: Any) -> Path:
    """The shipped configuration on a free port of loopback, with other `args`; stores lie in `folder` unless said."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    chat = {"stores": str(folder / "stores")} | args.get("chat", {})
    config["applications"][0]["args"] = config["applications"][0]["args"] | args | {"chat": chat}
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
