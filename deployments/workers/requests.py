"""What the script of a worker asks of the fork server, over a socket that keeps messages whole.

The script imports this module, so it needs the standard library alone.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

SOCKET_VARIABLE = "MUNJANG_FORK_SERVER"
STARTED = b"started"
LARGEST = 1 << 20  # bytes of a message


@dataclass(frozen=True)
class Request:
    """A worker to start.

    arguments    those of Ray's default_worker.py
    folder       the working directory
    environment  the variables with which the script was started
    outputs      file descriptors of the standard output and the standard error
    """

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    outputs: tuple[int, ...] = (1, 2)

    def close(self) -> None:
        """Close the file descriptors."""
        for descriptor in self.outputs:
            os.close(descriptor)


def initial_environment() -> dict[str, str]:
    """The variables with which this process was started, without changes since. Needs Linux."""
    entries = os.fsdecode(Path("/proc/self/environ").read_bytes()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def send(connection: socket.socket, request: Request) -> None:
    """Send a request with its file descriptors. Raises OSError."""
    message = json.dumps([request.arguments, request.folder, request.environment]).encode()
    socket.send_fds(connection, [message], request.outputs)


def receive(connection: socket.socket) -> Request | None:
    """The request of a connection, with file descriptors that are open in this process; None where it sent none."""
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 2)
    except OSError:
        return None
    if not message:
        return None
    arguments, folder, environment = json.loads(message)
    return Request(arguments, folder, environment, tuple(descriptors))


def is_waiting(connection: socket.socket) -> bool:
    """Whether the sender of a request still waits for its answer."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False
