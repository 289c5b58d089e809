"""How good a checkpoint is on a data file, by the code that serves it; or how good a running server is.

python -m pipelines.evaluate checkpoints/qa dev.json --engine '{"dtype": "int8"}'
python -m pipelines.evaluate dev.json --task qa --url http://localhost:8000
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from pipelines.checkpoints.in_process import load_model, pipeline_of
from pipelines.checkpoints.quality import Examples, run
from pipelines.checkpoints.resolve import resolve
from pipelines.cola.metrics import matthews
from pipelines.engines.choice import EngineSettings
from pipelines.errors import MunjangError
from pipelines.format.manifest import DEFAULT_THRESHOLDS, Task, read_manifest, verify
from pipelines.measure.server_client import ServerClient
from pipelines.qa.metrics import score_any
from pipelines.sts.data import SAME_FROM
from pipelines.sts.metrics import f1_at, pearson, spearman
from pipelines.training.cola.recipe import RECIPE as COLA
from pipelines.training.qa.recipe import RECIPE as QA
from pipelines.training.recipe import Recipe
from pipelines.training.sts.recipe import RECIPE as STS

Figures = dict[str, float]
RECIPES: dict[Task, Recipe[Any]] = {"sts": STS, "cola": COLA, "qa": QA}
COLUMNS = {name: column for recipe in RECIPES.values() for name, column in recipe.columns.items()}


def measure(examples: Examples, outputs: Sequence[Any], threshold: float | None) -> Figures:
    """The task's figures, -1 to 1, from one output per example.

    STS: (score, whether it passes the threshold). CoLA: the probability of "acceptable", which passes from `threshold`
    on. QA: the answer's text, "" for none.
    """
    match examples.task:
        case "sts":
            scores, passed = zip(*outputs, strict=True)
            same = [score >= SAME_FROM for score in examples.expected]
            return {
                "pearson": pearson(scores, examples.expected),
                "spearman": spearman(scores, examples.expected),
                "f1": f1_at(np.array(passed, dtype=float), same, 0.5),
            }
        case "cola":
            lowest = DEFAULT_THRESHOLDS["classifier"] if threshold is None else threshold
            called = np.asarray(outputs) >= lowest
            truth = np.asarray(examples.expected)
            return {"matthews": matthews(called, truth), "accuracy": float((called == truth).mean())}
        case "qa":
            result = score_any(outputs, examples.expected)
            return {"exact_match": result.exact_match, "f1": result.f1}


def evaluate_checkpoint(
    folder: Path, data: str, engine: EngineSettings, columns: Mapping[str, str] | None = None
) -> Figures:
    """The figures of a checkpoint folder on data as `read_examples` takes them, on the engine that these settings
    choose. Raises CheckpointError, DataError, and the error of an example that has no result.
    """
    task = read_manifest(folder).task
    examples = read_examples(data, task, columns)
    manifest = verify(folder, task)
    pipeline: Any = pipeline_of(folder, manifest, load_model(folder, manifest, engine))
    outputs = [_output(task, result) for result in run(pipeline, examples.inputs)]
    return measure(examples, outputs, manifest.threshold)


def evaluate_server(url: str, data: str, task: Task, columns: Mapping[str, str] | None = None) -> Figures:
    """The figures of a running server on data. Raises ServerFailed, DataError."""
    examples = read_examples(data, task, columns)
    server = ServerClient(url)
    return measure(examples, server.outputs(task, examples.inputs), server.threshold(task))


def read_examples(data: str, task: Task, columns: Mapping[str, str] | None = None) -> Examples:
    """The examples of a file or data set, read as training reads its dev rows; `columns` are those of other names.

    Raises DataNotFound, and BadRow naming the line.
    """
    recipe = RECIPES[task]
    names = {name: column.default for name, column in recipe.columns.items()} | dict(columns or {})
    rows = recipe.read(data, [names[name] for name in recipe.columns], "validation")
    return recipe.examples(data, rows)


def _output(task: Task, result: Any) -> Any:
    match task:
        case "sts":
            return result.score, result.similar
        case "cola":
            return result.probability
        case "qa":
            return result.text


def main() -> int:
    """Print the figures as one line of JSON; 1 where something is refused, with the reason on standard error."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    try:
        figures = _evaluate(parser, arguments)
    except MunjangError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(json.dumps({name: round(value, 4) for name, value in figures.items()}) + "\n")
    return 0


def _evaluate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Figures:
    if (arguments.checkpoint is None) == (arguments.url is None):
        parser.error("name either a checkpoint or, with --url, a server")
    if arguments.url is not None:
        if arguments.task is None or arguments.engine is not None:
            parser.error("a server needs --task, and has its engine already")
        return evaluate_server(arguments.url, arguments.data, arguments.task, _columns(arguments))
    try:
        engine = EngineSettings.model_validate_json(arguments.engine or "{}")
    except ValidationError as error:
        parser.error(f"--engine: {'; '.join(str(fault['msg']) for fault in error.errors())}")
    return evaluate_checkpoint(_folder(parser, arguments), arguments.data, engine, _columns(arguments))


def _folder(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Path:
    """The checkpoint in the project's format; anything else is imported, for which the task must be known."""
    if Path(arguments.checkpoint, "manifest.json").is_file():
        return Path(arguments.checkpoint)
    if arguments.task is None:
        parser.error(f"{arguments.checkpoint} is not in the project's format yet; say its --task, and it is imported")
    return resolve(arguments.checkpoint, arguments.task)


def _columns(arguments: argparse.Namespace) -> dict[str, str]:
    """Those that the command line names."""
    return {name: column for name in COLUMNS if (column := getattr(arguments, f"{name}_column")) is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    files = "as `--dev` of the task's training: KLUE-STS, KorSTS, CoLA, SQuAD, files of rows, data sets by name"
    parser.add_argument("checkpoint", nargs="?", help="folder, or what `make serve` takes")
    parser.add_argument("data", help=files)
    parser.add_argument("--task", choices=get_args(Task), help="for a server, and for what is not imported yet")
    parser.add_argument("--engine", help='settings as in serve_config.yaml, in JSON: {"dtype": "int8"}')
    parser.add_argument("--url", help="of a running server")
    for name, column in COLUMNS.items():
        parser.add_argument(f"--{name}-column", help=f"{column.meaning} (default: {column.default})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
