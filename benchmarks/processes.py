"""Start a server in a session of its own, wait until it is ready, measure its memory, and stop all its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil

START_S = 300.0
STOP_S = 30.0
MIB = 2**20


class ServerFailed(Exception):
    """A server did not start, or it died."""


class Tree:
    """A process and all processes that it started, also those that left its session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._seen: set[psutil.Process] = set()

    def members(self) -> list[psutil.Process]:
        """The processes that are alive."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            self._seen |= {root, *root.children(recursive=True)}
        self._seen |= {one for one in psutil.process_iter() if _session_of(one) == self.process.pid}
        return [one for one in self._seen if one.is_running()]

    def memory_mib(self) -> float:
        """The sum of the proportional set sizes (PSS), in which a shared page counts once."""
        total = 0
        for member in self.members():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += member.memory_full_info().pss
        return round(total / MIB, 1)

    def end(self) -> None:
        """Stop all processes, and wait until they are gone: until then the port is taken.

        The first process gets SIGINT, as from a terminal. Processes left after STOP_S seconds are killed.
        """
        members = self.members()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        left = list({*members, *self.members()})
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        psutil.wait_procs(left, STOP_S)


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


@dataclass(frozen=True)
class Command:
    """A command that starts a server."""

    arguments: list[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start in a session of its own. Programs beside its interpreter come first in PATH."""
        path = f"{Path(self.arguments[0]).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            self.arguments,
            cwd=self.folder,
            env=os.environ | {"PATH": path} | self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def running(command: Command, ready_url: str, log: Path) -> Iterator[Tree]:
    """Run a server within the context, from when it is ready; its output goes to `log`. Raises ServerFailed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    refuse_taken(ready_url)
    with log.open("wb") as output:
        process = command.start(output)
        tree = Tree(process)
        try:
            wait_until_ready(process, ready_url, log)
            yield tree
        finally:
            tree.end()


def refuse_taken(url: str) -> None:
    """Raise ServerFailed where a process already listens at the URL."""
    address = urlsplit(url)
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex((address.hostname, address.port)) == 0:
            raise ServerFailed(f"port {address.port} is taken")


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until the URL answers. Raises ServerFailed, with the end of the log, where that takes too long."""
    until = time.monotonic() + START_S
    while not answers(url):
        if process.poll() is not None or time.monotonic() > until:
            tail = log.read_text(encoding="utf-8", errors="replace")[-1500:]
            raise ServerFailed(f"the server ended, or was not ready within {START_S:.0f} s: {tail}")
        time.sleep(0.25)


def answers(url: str) -> bool:
    """Whether the URL answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
