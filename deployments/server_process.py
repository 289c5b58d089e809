"""The process of a server: Ray's driver, which runs `serve run`, and all that it starts.

It is a fork of the launcher's process: it shares the memory of what the launcher has imported, and need not import it
again, which takes a second. Ctrl-C and SIGTERM reach the launcher alone, which passes one interrupt on, at which
`serve run` shuts down in order.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import ray
import yaml
from ray.serve.scripts import cli

from deployments.environment import search_path
from deployments.local_ray import start_ray
from deployments.ready_probe import ReadyProbe

if sys.platform == "linux":
    PROCESSES = multiprocessing.get_context("fork")
else:  # forks are not safe on macOS
    PROCESSES = multiprocessing.get_context("spawn")
STATUS_EVERY_S = 10.0
PROBE_EVERY_S = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = threading.Event()
LINGER_S = 0.5
DASHBOARD = "ray/dashboard/dashboard.py"


def run(config: Path, probe: ReadyProbe) -> int:
    """Run the server until it ends or this process is told to stop; nothing of it is left."""
    begun_s = time.monotonic()
    process = PROCESSES.Process(target=serve, args=(config,))
    gc.freeze()  # a collection would write to the pages that both processes share
    process.start()
    server = psutil.Process(process.pid)
    _interrupt_once(server)
    ready = _wait_until_ready(process, server.pid, probe, begun_s)
    if not ready and not STOPPED.is_set():
        _interrupt(server)
    process.join()
    end_session(server.pid)
    return (process.exitcode or 0) if ready or STOPPED.is_set() else 1


def serve(config: Path) -> None:
    """Be the server, in a session of its own: a terminal's Ctrl-C would reach it a second time, during its shutdown."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with it ignored
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        start_ray()
        cli.main(["run", str(config), "--address", "auto"])
    except KeyboardInterrupt:  # before `serve run` handles it
        pass
    finally:
        ray.shutdown()  # a fork does not call what is registered with atexit


def end_session(session: int) -> None:
    """Kill what is left of a session. Ray's processes go with their driver; two of its dashboard's, and HAProxy after a
    failed start, do not.
    """
    for process in psutil.wait_procs(members(session), timeout=LINGER_S)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def members(session: int) -> list[psutil.Process]:
    """The processes of a session, which has the id of its first process."""
    return [process for process in psutil.process_iter() if _session_of(process) == session]


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _interrupt_once(server: psutil.Process) -> None:
    """Pass on the first signal to stop; a second one would break off the server's shutdown."""

    def stop(*_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        STOPPED.set()
        _interrupt(server)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


def _interrupt(server: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        server.send_signal(signal.SIGINT)


def _wait_until_ready(server: BaseProcess, session: int, probe: ReadyProbe, begun_s: float) -> bool:
    """True once the graph is ready; False where the server ended before, or can't get ready."""
    ask_s = begun_s + 2 * STATUS_EVERY_S
    while server.is_alive():
        if probe.is_ready():
            sys.stdout.write(f"Munjang is ready at {probe.url} after {time.monotonic() - begun_s:.0f} s\n")
            sys.stdout.flush()
            return True
        if time.monotonic() > ask_s and not STOPPED.is_set():
            if failure := _failure(session):
                sys.stderr.write(f"Munjang can't start:\n{failure}\n")
                return False
            ask_s = time.monotonic() + STATUS_EVERY_S
        time.sleep(PROBE_EVERY_S)
    return False


def _failure(session: int) -> str | None:
    """Why an application of the server in this session failed to deploy, from `serve status`; None where none did."""
    address = dashboard_address(session)
    if address is None:
        return None
    # A local cluster requires a token, which it keeps in ~/.ray.
    environment = {"RAY_AUTH_MODE": "token"} | os.environ | {"PATH": search_path()}
    try:
        status = subprocess.run(
            ["serve", "status", "--address", address],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    applications = (yaml.safe_load(status.stdout) or {}).get("applications", {}) if status.returncode == 0 else {}
    failed = [app["message"] for app in applications.values() if app["status"] == "DEPLOY_FAILED"]
    return "\n".join(failed) or None


def dashboard_address(session: int) -> str | None:
    """The address of Ray's dashboard, which takes the first free port from 8265 on: that of this session, or, where
    RAY_ADDRESS leads to a cluster that runs already, that of the cluster. None while there is none.
    """
    if os.environ.get("RAY_ADDRESS", "local") != "local":
        return os.environ.get("RAY_DASHBOARD_ADDRESS", "http://127.0.0.1:8265")
    for process in members(session):
        with contextlib.suppress(psutil.Error):  # it may end meanwhile
            if any(argument.endswith(DASHBOARD) for argument in process.cmdline()):
                listening = [connection.laddr for connection in process.net_connections("tcp4") if not connection.raddr]
                return next((f"http://{ip}:{port}" for ip, port in listening if ip == "127.0.0.1"), None)
    return None
