"""The configuration of a server: checked, completed, and its checkpoints verified, before anything starts."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from deployments.exposure import LOOPBACK, refuse_open
from deployments.jobs.place import database_of
from deployments.ports import is_taken
from deployments.serve_config import POLICY, read_config, read_settings, section
from deployments.settings import Settings, StsSettings
from deployments.tracing.spans import check_installed
from pipelines.chat.sample import PERSONA, SAMPLE_STORE
from pipelines.chat.store.build import wants_build
from pipelines.chat.store.documents import read_documents
from pipelines.chat.store.stores import stores_root
from pipelines.checkpoints.resolve import NOTHING_SAID, OutputOptions, portable, resolve
from pipelines.errors import CheckpointError, ConfigError, StoreError
from pipelines.format.manifest import Task, read_manifest, verify

TASKS: tuple[Task, ...] = get_args(Task)
AUTOSCALING = {"policy_function": POLICY}  # unless the file names another policy


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
