"""A real fork server. Ray's worker ends at once without its arguments, and says so on the standard error."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deployments.workers.requests import STARTED, Request, send
from pipelines.checkpoints.resolve import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
ENDED_S = 60.0
ENVIRONMENT = os.environ | {"SPT_NOENV": "1"}  # without it titles overwrite /proc/self/environ


@contextmanager
def fork_server(path: Path, code: str = "main()") -> Iterator[subprocess.Popen[bytes]]:
    """A fork server that listens at `path`; its standard input is a pipe."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        descriptor = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", f"from deployments.workers.fork_server import *; {code}", str(descriptor)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[descriptor],
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ask(path: Path, environment: dict[str, str], patience_s: float = ENDED_S) -> tuple[bytes, bytes]:
    """The answer to a request within so many seconds, and what its worker has written to the standard error."""
    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(ENDED_S)
        connection.connect(str(path))
        send(connection, Request(["--node-id=1"], "/", environment, (writer, writer)))
        os.close(writer)
        connection.settimeout(patience_s)
        answer = b""
        with suppress(OSError):  # no answer in time
            answer = connection.recv(len(STARTED))
    with os.fdopen(reader, "rb") as written:
        return answer, written.read()


def test_a_script_that_no_longer_waits_gets_no_worker(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with fork_server(path):  # which takes a second before it accepts the first connection
        answer, written = ask(path, ENVIRONMENT, patience_s=0)
        assert (answer, written) == (b"", b"")
        assert ask(path, ENVIRONMENT)[0] == STARTED


def test_it_forks_workers_of_its_own_environment_until_its_input_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with fork_server(path) as process:
        for _ in range(2):
            answer, written = ask(path, ENVIRONMENT)
            assert answer == STARTED
            assert b"default_worker.py: error: the following arguments are required: --cluster-id" in written
        assert ask(path, ENVIRONMENT | {"ANOTHER": "1"}) == (b"", b"")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(ENDED_S) == 0


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("UniqueID.from_random(); main()", id="an id was made"),
        pytest.param(
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); main()",
            id="a thread runs",
        ),
    ],
)
def test_a_process_whose_forks_would_go_wrong_ends(code: str, tmp_path: Path) -> None:
    with fork_server(tmp_path / "socket", code) as process:
        _, errors = process.communicate(timeout=ENDED_S)
        assert b"Ray's workers start one by one" in errors
