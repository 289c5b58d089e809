"""What the raylet runs to start a worker: it asks for a fork of the fork server, or else becomes Ray's worker itself.

    python start.py PATH_OF_DEFAULT_WORKER ARGUMENT...

It imports the standard library alone, so that it ends soon.
"""

import os
import socket
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])
from deployments.workers.requests import SOCKET_VARIABLE, STARTED, Request, initial_environment, send  # noqa: E402

PATIENCE_S = 20.0  # the raylet gives a worker 60 s


def main() -> None:
    """Start the worker of the command line."""
    request = Request(sys.argv[2:], str(Path.cwd()), initial_environment())
    if not is_forked(request):
        interpreter = sys.orig_argv[: -len(sys.argv)]  # with its options
        os.execv(sys.executable, [*interpreter, *sys.argv[1:]])  # noqa: S606


def is_forked(request: Request) -> bool:
    """Whether the fork server has started the worker."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(os.environ[SOCKET_VARIABLE])
            send(connection, request)
            return connection.recv(len(STARTED)) == STARTED
    except OSError:
        return False


if __name__ == "__main__":
    main()
