"""The script of a worker, with a script of the test in place of Ray's."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from deployments.workers.forking import SCRIPT
from deployments.workers.requests import SOCKET_VARIABLE, STARTED, Request, receive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A script that prints its arguments, and whether Python was started with -s."""
    path = tmp_path / "default_worker.py"
    path.write_text("import sys; print(sys.argv, sys.flags.no_user_site)")
    return path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        yield listener


def start(worker: Path, address: str) -> str:
    command = [sys.executable, "-s", SCRIPT, str(worker), "--one", "two"]
    environment = os.environ | {SOCKET_VARIABLE: address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def answered(listener: socket.socket, answer: bytes) -> list[Request | None]:
    """The requests of the next connection, which is given that answer."""
    requests: list[Request | None] = []

    def serve() -> None:
        with listener.accept()[0] as connection:
            request = receive(connection)
            requests.append(request)
            if request:
                request.close()
            if answer:
                connection.send(answer)

    Thread(target=serve, daemon=True).start()
    return requests


def test_without_a_fork_server_the_script_becomes_the_worker(worker: Path, tmp_path: Path) -> None:
    assert start(worker, str(tmp_path / "nothing")) == f"{[str(worker), '--one', 'two']} 1\n"


def test_a_fork_server_that_declines_leaves_the_worker_to_the_script(worker: Path, listener: socket.socket) -> None:
    requests = answered(listener, b"")
    assert start(worker, listener.getsockname()) == f"{[str(worker), '--one', 'two']} 1\n"
    assert len(requests) == 1


def test_the_script_ends_when_the_fork_server_has_started_the_worker(worker: Path, listener: socket.socket) -> None:
    requests = answered(listener, STARTED)
    assert not start(worker, listener.getsockname())
    (request,) = requests
    assert request is not None
    assert request.arguments == ["--one", "two"]
    assert request.folder == str(Path.cwd())
    assert request.environment[SOCKET_VARIABLE] == listener.getsockname()
