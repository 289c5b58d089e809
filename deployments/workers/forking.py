"""Makes a raylet start its workers as forks of a fork server."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import list2cmdline

from ray._private.workers import __path__ as scripts
from ray._raylet import JobID

from deployments.workers.requests import SOCKET_VARIABLE
from pipelines.checkpoints.resolve import ROOT

SCRIPT = str(ROOT / "deployments" / "workers" / "start.py")
DEFAULT_WORKER = str(Path(scripts[0], "default_worker.py"))
WORKER_COMMAND = "--python_worker_command="
PRESTARTED = "--num_prestart_python_workers="
SESSION = "--session_dir="
BACKLOG = 64  # workers that are asked for while the fork server still imports
TITLE_LENGTH = 512  # bytes


def listen(raylet: list[str]) -> socket.socket:
    """The socket of a fork server, beside those of the raylet with this command, whose workers find it by a variable.

    Raises OSError, for example if its path is too long.
    """
    (session,) = (word.removeprefix(SESSION) for word in raylet if word.startswith(SESSION))
    path = Path(session, "sockets", "fork_server")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    path.chmod(0o600)  # nobody can connect before the next line
    listener.listen(BACKLOG)
    os.environ[SOCKET_VARIABLE] = str(path)
    return listener


def start_fork_server(listener: socket.socket, raylet_pid: int) -> None:
    """Start the fork server, with the variables that this raylet gives its workers. It ends with this process."""
    jemalloc = {} if "LD_PRELOAD" in os.environ else {"RAY_LD_PRELOAD_ON_WORKERS": "0"}  # the raylet itself runs on it
    own = {"RAY_JOB_ID": JobID.from_int(1).hex(), "RAY_RAYLET_PID": str(raylet_pid), "SPT_NOENV": "1"}
    reader, _ = os.pipe()  # the other end stays open until this process ends
    subprocess.Popen(
        [sys.executable, "-m", "deployments.workers.fork_server", str(listener.fileno()), "-" * TITLE_LENGTH],
        cwd=ROOT,
        env=jemalloc | os.environ | own,
        stdin=reader,
        pass_fds=[listener.fileno()],
    )
    os.close(reader)
    listener.close()


def forked_workers(raylet: list[str]) -> list[str]:
    """The command of a raylet, changed so that it starts its workers with `SCRIPT`, and none before they are needed:
    those would belong to no job, and have another environment.
    """
    return [_forked(word) for word in raylet]


def _forked(word: str) -> str:
    if word.startswith(WORKER_COMMAND):
        return word.replace(list2cmdline([DEFAULT_WORKER]), list2cmdline([SCRIPT, DEFAULT_WORKER]))
    return f"{PRESTARTED}0" if word.startswith(PRESTARTED) else word
