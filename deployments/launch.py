"""`munjang serve`, and so `make serve`: check configuration and checkpoints, run `serve run`, and say when it is ready.

Ctrl-C and SIGTERM reach this process only. It passes one interrupt on to `serve run`, which then shuts down in order.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import psutil
import yaml

from deployments.exposure import LOOPBACK, add_launcher_key, haproxy_variables, refuse_open
from deployments.jobs.place import database_of
from deployments.ports import is_taken, own_ports
from deployments.ready_probe import ReadyProbe
from deployments.serve_config import POLICY, read_config, read_settings, section
from deployments.settings import Settings, StsSettings
from deployments.tls import TLS_VARIABLE, tls_file, trusting
from deployments.tracing.spans import check_installed
from pipelines.chat.sample import PERSONA, SAMPLE_STORE
from pipelines.chat.store.build import wants_build
from pipelines.chat.store.documents import read_documents
from pipelines.chat.store.stores import stores_root
from pipelines.checkpoints.resolve import NOTHING_SAID, ROOT, OutputOptions, portable, resolve
from pipelines.command_line import Command
from pipelines.errors import CheckpointError, ConfigError, StoreError
from pipelines.format.manifest import Task, read_manifest, verify

TASKS: tuple[Task, ...] = get_args(Task)
STATUS_EVERY_S = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = threading.Event()
LINGER_S = 0.5
LAUNCHED_HERE = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1"}  # no balancer outside has to notice the end
AUTOSCALING = {"policy_function": POLICY}  # unless the file names another policy
DASHBOARD = "ray/dashboard/dashboard.py"


def _serve(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """0 after an orderly stop, 1 where the start fails. Raises ConfigError and CheckpointError before it."""
    named = {task: getattr(arguments, task) for task in TASKS}
    config = configure(arguments.config, named, arguments.host, OutputOptions.of(arguments))
    args, http = config["applications"][0]["args"], config["http_options"]
    build_sample_store(args)
    certificate = tls_file(os.environ)
    key = add_launcher_key(args, os.environ)
    probe = ReadyProbe.of(http["host"], http["port"], key, trusting(certificate) if certificate else None)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(config, file, allow_unicode=True)
        file.flush()
        return run(["serve", "run", file.name], probe)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, nargs="?", default=Path("serve_config.yaml"), help="(%(default)s)")
    parser.add_argument("--host", help="address to listen on, such as 0.0.0.0; a public one needs API keys")
    for task in TASKS:
        parser.add_argument(f"--{task}", help="folder, zip file or Hub id (owner/name@revision)", metavar="CHECKPOINT")
    OutputOptions.add_to(parser)


SERVE = Command(
    "Check the configuration and the checkpoints, run `serve run`, and say when the graph is ready.\n"
    "Variables that the environment does not set are taken from deploy/serve.env.",
    _add_options,
    _serve,
)


def configure(
    path: Path,
    checkpoints: Mapping[Task, str | None],
    host: str | None = None,
    outputs: OutputOptions = NOTHING_SAID,
) -> dict[str, Any]:
    """The content of a config file, with another host and other checkpoints where they are named, all of them verified.

    `outputs` is written to the sections of the tasks that it is about. What is not in the project's format is imported
    on the way. Raises ConfigError, CheckpointError.
    """
    config = read_config(path)
    config["applications"][0].setdefault("autoscaling_policy", dict(AUTOSCALING))
    args, http = config["applications"][0]["args"], config["http_options"]
    for task in TASKS:
        if source := checkpoints.get(task):
            section(path, args, task)["checkpoint"] = portable(source)
    _describe_outputs(path, args, checkpoints, outputs)
    settings = read_settings(path, args)
    http["host"] = host or http.get("host") or LOOPBACK  # Serve's own default depends on the environment
    if settings.tracing:
        check_installed()
    database_of(settings.jobs)  # refuses at once what each replica would refuse
    refuse_open(settings.ingress.access, http["host"], os.environ)
    for task in TASKS:
        task_settings = getattr(settings, task)
        sys.stdout.write(f"{task}: {task_settings.checkpoint}\n")
        verify(resolve(task_settings.checkpoint, task, getattr(task_settings, "outputs", NOTHING_SAID)), task)
    _refuse_taken(http.setdefault("port", 8000))
    return config


def _describe_outputs(
    path: Path, args: dict[str, Any], checkpoints: Mapping[Task, str | None], outputs: OutputOptions
) -> None:
    """Write what the command line says about outputs; what the file says is about the checkpoint that it names."""
    about: dict[Task, tuple[str, Any]] = {
        "cola": ("positive_label", outputs.positive_label),
        "sts": ("scale", None if outputs.scale is None else list(outputs.scale)),
    }
    for task, (key, value) in about.items():
        if value is not None or checkpoints.get(task):
            section(path, args, task)[key] = value


def _refuse_taken(port: int) -> None:
    """Two servers on one port would answer by turns."""
    if is_taken(port):
        raise ConfigError(f"port {port} is taken by another server")


def environment() -> dict[str, str]:
    """The server's variables: those of this process, with those of deploy/serve.env and ports of its own where this
    process has none, and with the programs of this Python environment first in the path.
    """
    lines = (ROOT / "deploy" / "serve.env").read_text(encoding="utf-8").splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {"PATH": _path()} | ({TLS_VARIABLE: str(certificate)} if (certificate := tls_file(os.environ)) else {})
    return shared | LAUNCHED_HERE | own_ports() | haproxy_variables() | os.environ | own


def _path() -> str:
    """The search path with the programs of this Python environment first: nobody has to activate it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def build_sample_store(args: Mapping[str, Any]) -> None:
    """Have the sample store built, where there is none or it is of another checkpoint; where that fails everything else
    is served all the same. A store of other documents under its name is the operator's, and stays.
    """
    settings = Settings.model_validate(args)
    store = stores_root(settings.chat.stores) / SAMPLE_STORE
    try:
        checkpoint = _embedding_checkpoint(settings.sts)
        if wants_build(read_documents(PERSONA), store, read_manifest(checkpoint).digest):
            _build_sample(store, checkpoint)
    except (CheckpointError, StoreError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"the sample store {store} can't be built: {error}; the rest is served without it\n")


def _embedding_checkpoint(served: StsSettings) -> Path:
    """The served one; in place of a cross-encoder, which embeds nothing, the shipped one: questions to the sample are
    then searched by words alone.
    """
    checkpoint = resolve(served.checkpoint, "sts", served.outputs)
    if read_manifest(checkpoint).kind == "bi-encoder":
        return checkpoint
    return resolve(Settings().sts.checkpoint, "sts")


def _build_sample(store: Path, checkpoint: Path) -> None:
    """By a process that ends with it, and frees its memory. Raises CalledProcessError."""
    command = [
        sys.executable,
        "-m",
        "pipelines.chat",
        "build",
        str(PERSONA),
        str(store),
        "--checkpoint",
        str(checkpoint),
    ]
    subprocess.run(command, check=True)


def run(command: list[str], probe: ReadyProbe) -> int:
    """Run the server until it ends or this process is told to stop; nothing of it is left."""
    begun_s = time.monotonic()
    for number in STOP_SIGNALS:  # a shell starts its background jobs with them ignored, and children inherit that
        signal.signal(number, signal.SIG_DFL)
    # A session of its own: a terminal's Ctrl-C would reach it a second time, in the midst of its shutdown.
    with subprocess.Popen(command, env=environment(), start_new_session=True) as server:
        _interrupt_once(server)
        ready = _wait_until_ready(server, probe, begun_s)
        if not ready and not STOPPED.is_set():
            server.send_signal(signal.SIGINT)
        code = server.wait()
    _end_session(server.pid)
    return code if ready or STOPPED.is_set() else 1


def _end_session(session: int) -> None:
    """Ray's processes go with their driver; two of its dashboard's, and HAProxy after a failed start, do not."""
    for process in psutil.wait_procs(_members(session), timeout=LINGER_S)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _members(session: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _session_of(process) == session]


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _interrupt_once(server: subprocess.Popen[bytes]) -> None:
    """Pass on the first signal to stop; a second one would break off the server's shutdown."""

    def stop(*_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        STOPPED.set()
        server.send_signal(signal.SIGINT)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


def _wait_until_ready(server: subprocess.Popen[bytes], probe: ReadyProbe, begun_s: float) -> bool:
    """True once the graph is ready; False where the server ended before, or can't get ready."""
    ask_s = begun_s + 2 * STATUS_EVERY_S
    while server.poll() is None:
        if probe.is_ready():
            sys.stdout.write(f"Munjang is ready at {probe.url} after {time.monotonic() - begun_s:.0f} s\n")
            sys.stdout.flush()
            return True
        if time.monotonic() > ask_s and not STOPPED.is_set():
            if failure := _failure(server.pid):
                sys.stderr.write(f"Munjang can't start:\n{failure}\n")
                return False
            ask_s = time.monotonic() + STATUS_EVERY_S
        time.sleep(0.25)
    return False


def _failure(session: int) -> str | None:
    """Why an application of the server in this session failed to deploy, from `serve status`; None where none did."""
    address = dashboard_address(session)
    if address is None:
        return None
    # A local cluster requires a token, which it keeps in ~/.ray.
    environment = {"RAY_AUTH_MODE": "token"} | os.environ | {"PATH": _path()}
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
    for process in _members(session):
        with contextlib.suppress(psutil.Error):  # it may end meanwhile
            if any(argument.endswith(DASHBOARD) for argument in process.cmdline()):
                listening = [connection.laddr for connection in process.net_connections("tcp4") if not connection.raddr]
                return next((f"http://{ip}:{port}" for ip, port in listening if ip == "127.0.0.1"), None)
    return None
