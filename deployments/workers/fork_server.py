"""The process of which Ray's workers are forks. It imports what they need, and does nothing else.

    python -m deployments.workers.fork_server DESCRIPTOR ROOM

DESCRIPTOR is that of a listening socket (deployments/workers/requests.py). ROOM is not read: a title of a fork can't be
longer than the command of this process. The process ends when its standard input is closed, which is when the driver
ends. A worker is forked only if it gets the environment of this process, since Ray reads some of its variables when it
is imported; others start as without this process.

Ray's random ids come from a generator that is seeded with the time when it makes the first of them (`FillRandom` in
Ray's id.h). Forks of a process that had made one would all make the same ids, so this process must not make any. Nor
may it have threads, which a fork would miss. It ends, and workers start as usual, where that is not so.
"""

import contextlib
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

from ray import actor
from ray._raylet import ActorClassID, UniqueID, setproctitle  # type: ignore[attr-defined]

from deployments.workers.forking import DEFAULT_WORKER
from deployments.workers.requests import STARTED, Request, initial_environment, is_waiting, receive

IMPORTED = (
    "ray.serve._private.controller",
    "ray.serve._private.haproxy",
    "ray.serve._private.replica",
    "deployments.graph",
)
TITLE = "munjang fork server"


class SystemRandomIds:
    """Makes the ids of actor classes, which get theirs when they are imported, without Ray's generator."""

    @staticmethod
    def from_random() -> ActorClassID:
        """As that of Ray's class."""
        return ActorClassID(os.urandom(ActorClassID.size()))


def main() -> None:
    """Be the fork server, and each of its forks."""
    setproctitle(TITLE)  # a fork can set its title only if this process has
    import_all()
    if not is_forkable():
        sys.exit("Ray's workers start one by one: a fork would miss threads, or make the ids of another one")
    gc.freeze()  # a collection would write to the pages that the forks share
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver gets it, too, and ends in order
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request:
        run_worker(request)


def import_all() -> None:
    """Import what replicas and Serve's own actors run on.

    Serve would import pandas, too, where it is installed, and pandas pyarrow, which starts a thread. No replica needs
    them.
    """
    actor.ActorClassID = SystemRandomIds
    sys.modules["pandas"] = None  # type: ignore[assignment] # raises ModuleNotFoundError when it is imported
    try:
        for name in IMPORTED:
            importlib.import_module(name)
    finally:
        actor.ActorClassID = ActorClassID
        del sys.modules["pandas"]


def is_forkable() -> bool:
    """Whether two forks make different ids, and this process has no threads. A fork ends those of OpenBLAS."""
    ids = {first_id_of_a_fork() for _ in range(2)}
    return len(ids) == 2 and len(list(Path("/proc/self/task").iterdir())) == 1


def first_id_of_a_fork() -> bytes:
    """The first id that Ray makes in a fork."""
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, UniqueID.from_random().binary())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader, "rb") as made:
        return made.read()


def serve(listener: socket.socket) -> Request | None:
    """Fork a worker for each request that has the environment of this process.

    Returns the request in a fork, and None when the standard input is closed.
    """
    stopped, environment = sys.stdin.fileno(), initial_environment()
    while stopped not in select.select([listener, stopped], [], [])[0]:
        with listener.accept()[0] as connection:
            request = receive(connection)
            if request and request.environment == environment and is_waiting(connection):
                if not os.fork():
                    listener.close()
                    return request
                with contextlib.suppress(OSError):
                    connection.send(STARTED)
            if request:
                request.close()
    return None


def run_worker(request: Request) -> None:
    """Be the worker until it ends, as if this process had been started for it."""
    os.setpgid(0, 0)  # the raylet ends a worker with its process group
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, standard in zip(request.outputs, (1, 2), strict=True):
        os.dup2(descriptor, standard)
    request.close()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.chdir(request.folder)
    sys.argv = [DEFAULT_WORKER, *request.arguments]
    sys.path[0] = str(Path(DEFAULT_WORKER).parent)
    runpy.run_path(DEFAULT_WORKER, run_name="__main__")


if __name__ == "__main__":
    main()
