import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deployments.workers.requests import Request, initial_environment, is_waiting, receive, send

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The script's end of a connection, and the fork server's."""
    script, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with script, server:
        yield script, server


def test_a_request_arrives_with_open_file_descriptors(ends: tuple[socket.socket, socket.socket]) -> None:
    script, server = ends
    (out, out_end), (error, error_end) = os.pipe(), os.pipe()
    send(script, Request(["--one", "둘 셋"], "/", {"NAME": "값=1"}, (out_end, error_end)))
    request = receive(server)
    assert request is not None
    assert (request.arguments, request.folder, request.environment) == (["--one", "둘 셋"], "/", {"NAME": "값=1"})
    for number, descriptor in enumerate(request.outputs):
        os.write(descriptor, f"{number}".encode())
    assert (os.read(out, 9), os.read(error, 9)) == (b"0", b"1")
    request.close()
    for descriptor in (out, out_end, error, error_end):
        os.close(descriptor)


def test_a_connection_without_a_request_brings_none(ends: tuple[socket.socket, socket.socket]) -> None:
    script, server = ends
    script.close()
    assert receive(server) is None


def test_a_script_that_has_ended_does_not_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    script, server = ends
    assert is_waiting(server)
    script.close()
    assert not is_waiting(server)


def test_variables_that_are_set_later_are_not_of_the_initial_environment() -> None:
    code = (
        "import os; os.environ['LATER'] = '1'; "
        "from deployments.workers.requests import initial_environment as initial; "
        "print(initial().get('FIRST'), initial().get('LATER'))"
    )
    environment = {"FIRST": "a=b", "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "a=b None\n"
    assert initial_environment()
