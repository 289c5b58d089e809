"""Measure the quality of a checkpoint, using the serving code, or of a running server.

The data can be anything that `--dev` of the task's training command takes: a file of KLUE-STS, KorSTS, CoLA or SQuAD, a
file of rows, or the name of a data set.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from pipelines.checkpoints.in_process import load_model, pipeline_of
from pipelines.checkpoints.quality import figures
from pipelines.checkpoints.resolve import OutputOptions, resolve
from pipelines.checkpoints.tasks.definition import Examples
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.command_line import Command
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import MANIFEST, Task, read_manifest, verify
from pipelines.measure.server_client import ServerClient
from pipelines.training.cola.recipe import RECIPE as COLA
from pipelines.training.qa.recipe import RECIPE as QA
from pipelines.training.recipe import Recipe
from pipelines.training.sts.recipe import RECIPE as STS

Figures = dict[str, float]
RECIPES: dict[Task, Recipe[Any]] = {"sts": STS, "cola": COLA, "qa": QA}
COLUMNS = {name: column for recipe in RECIPES.values() for name, column in recipe.columns.items()}


def evaluate_checkpoint(
    folder: Path, data: str, engine: EngineSettings, columns: Mapping[str, str] | None = None
) -> Figures:
    """The figures of a checkpoint folder, run on the engine that the settings choose.

    `data` and `columns` are those of `read_examples`. Raises CheckpointError, DataError, and the error of the first
    example that failed.
    """
    task = read_manifest(folder).task
    examples = read_examples(data, task, columns)
    manifest = verify(folder, task)
    return figures(pipeline_of(folder, manifest, load_model(folder, manifest, engine)), manifest, examples)


def evaluate_server(url: str, data: str, task: Task, columns: Mapping[str, str] | None = None) -> Figures:
    """The figures of a running server. Raises ServerFailed, DataError."""
    examples = read_examples(data, task, columns)
    server = ServerClient(url)
    return TASKS[task].figures(server.outputs(task, examples.inputs), examples.expected, server.threshold(task))


def read_examples(data: str, task: Task, columns: Mapping[str, str] | None = None) -> Examples:
    """Read the examples of a file or data set in the same way as training reads its dev rows.

    `columns` gives the names of the columns that do not have their default name. Raises DataNotFound, and BadRow with
    the line of the fault.
    """
    recipe = RECIPES[task]
    names = {name: column.default for name, column in recipe.columns.items()} | dict(columns or {})
    rows = recipe.read(data, [names[name] for name in recipe.columns], "validation")
    return TASKS[task].examples(data, rows)


def _print_figures(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Print the figures as one line of JSON."""
    measured = _evaluate(parser, arguments)
    sys.stdout.write(json.dumps({name: round(value, 4) for name, value in measured.items()}) + "\n")


def _evaluate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Figures:
    if (arguments.checkpoint is None) == (arguments.url is None):
        parser.error("give either a checkpoint or the --url of a server")
    if arguments.url is not None:
        if arguments.task is None or arguments.engine is not None:
            parser.error("--url needs --task, and excludes --engine: the server has chosen its engine")
        return evaluate_server(arguments.url, arguments.data, arguments.task, _columns(arguments))
    try:
        engine = EngineSettings.model_validate_json(arguments.engine or "{}")
    except ValidationError as error:
        parser.error(f"--engine: {'; '.join(str(fault['msg']) for fault in error.errors())}")
    return evaluate_checkpoint(_folder(parser, arguments), arguments.data, engine, _columns(arguments))


def _folder(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Path:
    """The folder of a checkpoint in the project's format. Any other checkpoint is imported, which requires --task."""
    folder, task = Path(arguments.checkpoint), arguments.task
    if (folder / MANIFEST).is_file():
        task = read_manifest(folder).task
    if task is None:
        parser.error(f"{folder} is not in the project's format; give its --task to import it")
    return resolve(str(folder), task, OutputOptions.of(arguments))


def _columns(arguments: argparse.Namespace) -> dict[str, str]:
    """The columns that the command line names."""
    return {name: column for name in COLUMNS if (column := getattr(arguments, f"{name}_column")) is not None}


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", nargs="?", help="folder, or any name that `make serve` takes; omit it with --url")
    parser.add_argument("data", help="file or data set to measure on")
    parser.add_argument(
        "--task",
        choices=get_args(Task),
        help="needed with --url, and for checkpoints to import",
    )
    parser.add_argument("--engine", help='engine settings of serve_config.yaml as JSON, for example {"dtype": "int8"}')
    OutputOptions.add_to(parser)
    parser.add_argument("--url", help="URL of a running server, for example http://localhost:8000")
    for name, column in COLUMNS.items():
        parser.add_argument(f"--{name}-column", help=f"{column.meaning} (default: {column.default})")


EVALUATE = Command(__doc__, _add_options, _print_figures)
