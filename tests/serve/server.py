"""A real server, started as `make serve` does, with its own ports and its own session."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from deployments.ingress import FAST_FLAGS
from deployments.server_process import dashboard_address, members
from deployments.tls import TLS_VARIABLE

ROOT = Path(__file__).parents[2]
START_S = 240.0  # enough for a loaded machine with 2 cores; an idle one needs a tenth of this
STOP_S = 30.0
LOGGED_S = 30.0


class Server:
    """`munjang serve` with a config file, and its output so far."""

    def __init__(self, config: Path, environment: Mapping[str, str], *arguments: str) -> None:
        scheme = "https" if TLS_VARIABLE in environment else "http"
        self.url = f"{scheme}://127.0.0.1:{yaml.safe_load(config.read_text())['http_options']['port']}"
        self._lines: list[str] = []
        self._ready = threading.Event()
        self._ended = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deployments", "serve", str(config), *arguments],
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

    def wait_for(self, holds: Callable[[str], bool], within_s: float = LOGGED_S) -> None:
        """Wait until `holds` is true of the output. Ray passes on the lines of other processes with some delay."""
        until_s = time.monotonic() + within_s
        while not holds(self.output):
            assert time.monotonic() < until_s, f"not written within {within_s} s:\n{self.output}"
            self._ended.wait(0.1)

    def processes(self) -> list[psutil.Process]:
        """All processes of the tree, including those of Ray, and what is left of the session of Ray's driver: replicas
        lose their parent when the process of which they are forks is killed.
        """
        tree = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        drivers = psutil.Process(self.process.pid).children()
        return list(dict.fromkeys(tree + [one for driver in drivers for one in members(driver.pid)]))

    def session(self) -> Path:
        """The folder of its Ray session."""
        commands = [process.cmdline() for process in self.processes() if process.name() == "raylet"]
        (session,) = {
            word.partition("=")[2] for words in commands for word in words if word.startswith("--session_dir=")
        }
        return Path(session)

    def logs(self) -> dict[str, str]:
        """What the server has written: its output, and each log file of its Ray session by name."""
        files = [path for path in (self.session() / "logs").rglob("*") if path.is_file()]
        assert any(path.parent.name == "serve" for path in files)
        return {"output": self.output} | {str(path): path.read_text(errors="replace") for path in files}

    def replica(self, deployment: str) -> psutil.Process:
        """The process of the first replica of `deployment`."""
        return self.replicas(deployment)[0]

    def replicas(self, deployment: str = "") -> list[psutil.Process]:
        """The processes of all replicas of `deployment`, or of all deployments."""
        title = re.compile(f"ray::ServeReplica:munjang:{deployment or '.*'}")
        return [process for process in self.processes() if title.fullmatch(_title(process))]

    def deploy(self, config: Path) -> None:
        """Run `serve deploy`, which returns as soon as the update has started."""
        sessions = psutil.Process(self.process.pid).children()
        address = next(filter(None, (dashboard_address(session.pid) for session in sessions)))
        command = [str(Path(sys.executable).with_name("serve")), "deploy", str(config), "--address", address]
        environment = os.environ | {"RAY_AUTH_MODE": "token"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """Kill all processes that are left."""
        if self.process.poll() is None:
            for process in self.processes():
                process.kill()
        self.process.wait()

    def stop(self, within_s: float = STOP_S) -> list[psutil.Process]:
        """Send one interrupt. Returns the processes that are still alive `within_s` seconds later."""
        processes, until_s = self.processes(), time.monotonic() + within_s
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=max(0, until_s - time.monotonic()))[1]
        return alive


def _title(process: psutil.Process) -> str:
    try:
        return next(iter(process.cmdline()), "")
    except psutil.NoSuchProcess:  # psutil raises it for a zombie, too
        return ""


def _ignore_interrupts() -> None:
    """Ignore SIGINT, as in a background job of a shell. An interrupt must stop the server even then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def running(config: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Server]:
    """Yield a ready server, and stop it at the end by one interrupt. Fails if any of its processes is left."""
    server = Server(config, environment, *arguments)
    left: list[psutil.Process] = []
    try:
        yield server.wait_until_ready()
        if server.process.poll() is None:
            left = server.stop()
            assert server.process.returncode == 0, server.output
    finally:
        server.kill()
        for process in left:
            process.kill()
    assert not left, f"alive after the server has stopped: {left}"


def environment(*, fast: bool = True, **more: str) -> dict[str, str]:
    """The variables of this process. With `fast` False, the flags of deploy/serve.env that make Serve fast are off."""
    own = {
        "RAY_ADDRESS": "local",  # never join another cluster on this machine
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "HF_HUB_OFFLINE": "1",
        "RAY_metrics_report_interval_ms": "1000",  # instead of 10 s, for which the tests of metrics would wait
        "OTEL_BSP_SCHEDULE_DELAY": "500",  # instead of 5 s, for which the tests of traces would wait
    }
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return inherited | own | ({} if fast else dict.fromkeys(FAST_FLAGS, "0")) | more


def write_config(folder: Path, **args: Any) -> Path:
    """Write the shipped configuration with a free port and other `args`. Stores and jobs are in `folder` by default."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    chat = {"stores": str(folder / "stores")} | args.get("chat", {})
    jobs = {"folder": str(folder / "jobs")} | args.get("jobs", {})
    config["applications"][0]["args"] = config["applications"][0]["args"] | args | {"chat": chat, "jobs": jobs}
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def free_port() -> int:
    """A port that is free now.

    A server listens on it only some seconds later, so it is none of those that the system, or Ray for its workers,
    gives to whoever asks for any port.
    """
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(20_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port
