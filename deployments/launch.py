"""`munjang serve`, and so `make serve`: check configuration and checkpoints, start the server, say when it is ready.

Ray and Ray Serve read their environment variables when they are imported, so the variables are set before, and what
imports Ray is imported within `_serve`.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import get_args

import yaml

from deployments.environment import server_environment
from deployments.exposure import add_launcher_key
from deployments.ready_probe import ReadyProbe
from deployments.tls import tls_file, trusting
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.command_line import Command
from pipelines.format.manifest import Task


def _serve(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """0 after an orderly stop, 1 where the start fails. Raises ConfigError and CheckpointError before it."""
    os.environ.update(server_environment())
    from deployments.configuration import build_sample_store, configure
    from deployments.server_process import run

    named = {task: getattr(arguments, task) for task in get_args(Task)}
    config = configure(arguments.config, named, arguments.host, OutputOptions.of(arguments))
    args, http = config["applications"][0]["args"], config["http_options"]
    build_sample_store(args)
    certificate = tls_file(os.environ)
    key = add_launcher_key(args, os.environ)
    probe = ReadyProbe.of(http["host"], http["port"], key, trusting(certificate) if certificate else None)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(config, file, allow_unicode=True)
        file.flush()
        return run(Path(file.name), probe)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, nargs="?", default=Path("serve_config.yaml"), help="(%(default)s)")
    parser.add_argument("--host", help="address to listen on, such as 0.0.0.0; a public one needs API keys")
    for task in get_args(Task):
        parser.add_argument(f"--{task}", help="folder, zip file or Hub id (owner/name@revision)", metavar="CHECKPOINT")
    OutputOptions.add_to(parser)


SERVE = Command(
    "Check the configuration and the checkpoints, start the server, and say when the graph is ready.\n"
    "Variables that the environment does not set are taken from deploy/serve.env.",
    _add_options,
    _serve,
)
