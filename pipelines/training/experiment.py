"""The training commands: compare models and heads on a task, and write the best, after its best epoch, as a checkpoint.

A run that was interrupted continues from its last complete epoch when the same command is run again.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from pipelines.command_line import Command
from pipelines.format.manifest import Manifest
from pipelines.text.rows import Row
from pipelines.training import command
from pipelines.training.command import add_options, parse
from pipelines.training.export import export
from pipelines.training.on_ray import RunResult, cluster, fit
from pipelines.training.recipe import Data, Recipe
from pipelines.training.results import RunHistory, better, compare
from pipelines.training.run_spec import RunSpec
from pipelines.training.settings import RaySettings, TrainingSettings

logger = logging.getLogger(__name__)

RESULTS = "results.md"
STOPPED = "The same command continues from the last complete epoch."


@dataclass(frozen=True)
class FinishedRun(Generic[Row]):
    """A run and its result."""

    spec: RunSpec[Row]
    result: RunResult

    @property
    def history(self) -> RunHistory:
        """The figures of its epochs, under the name of its model and seed."""
        return RunHistory(self.spec.label, self.spec.settings.seed, self.result.history)


@dataclass(frozen=True)
class Experiment(Generic[Row]):
    """The runs to compare, the data, and where they run."""

    recipe: Recipe[Row]
    specs: Sequence[RunSpec[Row]]
    data: Data[Row]
    where: RaySettings

    def runs(self) -> Iterator[FinishedRun[Row]]:
        """Train all runs on Ray, one after the other."""
        with cluster():
            for spec in self.specs:
                result = self._fit(spec)
                remark = self.recipe.remark(spec.model, result.history.epochs[-1])
                if remark is not None:
                    logger.warning("%s", remark)
                yield FinishedRun(spec, result)

    def tables(self, histories: Sequence[RunHistory]) -> str:
        """A Markdown table for each figure of the task."""
        titles = self.recipe.figures.items()
        return "\n".join(f"# {title} on {self.data.dev_name}\n\n{compare(histories, name)}\n" for name, title in titles)

    def _fit(self, spec: RunSpec[Row]) -> RunResult:
        name = spec.run_name(self.data)
        return fit(name, spec.load, self.data.stages, self.data.dev, spec.settings, self.where)


def command_of(recipe: Recipe[Any], description: str | None) -> Command:
    """The command that trains for a task, compares the models and writes the best."""
    return Command(description, partial(_add_options, recipe), partial(_run, recipe), STOPPED)


def _add_options(recipe: Recipe[Any], parser: argparse.ArgumentParser) -> None:
    command.add_task_options(parser, recipe)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each model is trained once with each")
    parser.add_argument(
        "--model-learning-rate", action="append", default=[], metavar="MODEL=RATE", help="for one of the models"
    )
    add_options(parser, recipe.training, without={"seed"})
    add_options(parser, RaySettings)


def _run(recipe: Recipe[Any], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    command.set_up_logging()
    experiment = _experiment(recipe, parser, arguments)
    histories: list[RunHistory] = []
    winner: FinishedRun[Any] | None = None
    for run in experiment.runs():
        histories.append(run.history)
        if better(run.history, winner.history if winner else None, recipe.sort_key):
            winner = run
    sys.stdout.write(f"\n{compare(histories, next(iter(recipe.figures)))}\n\n")
    if winner is not None:
        manifest = _export(experiment, histories, winner, arguments)
        command.tell_written(manifest, arguments.output)


def _export(
    experiment: Experiment[Any],
    histories: Sequence[RunHistory],
    winner: FinishedRun[Any],
    arguments: argparse.Namespace,
) -> Manifest:
    learner = winner.spec.load()
    learner.model.load_state_dict(winner.result.weights)
    minutes = sum(sum(run.history.seconds) for run in histories) / 60
    provenance = winner.spec.provenance(experiment.data, winner.result.history, arguments.typed, minutes)
    texts = {RESULTS: experiment.tables(histories)}
    int8 = experiment.recipe.int8_examples(experiment.data)
    return export(learner, provenance, arguments.output, texts, int8, weights=arguments.weights)


def _experiment(recipe: Recipe[Any], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Experiment[Any]:
    """Everything that can be refused is, before the first step. Raises MunjangError."""
    settings = [parse(parser, arguments, recipe.training, seed=seed) for seed in arguments.seeds]
    options = parse(parser, arguments, recipe.options)
    where, rates = parse(parser, arguments, RaySettings), _rates(parser, arguments)
    command.refuse_to_overwrite(arguments.output)
    data, bases = command.read_data(recipe, parser, arguments), command.bases_of(arguments)
    specs = [
        RunSpec(recipe, model, base, head, options, _settings(one, rates, model))
        for model, base in bases.items()
        for head in command.heads_of(recipe, arguments)
        for one in settings
    ]
    command.refuse_unfit(specs)
    return Experiment(recipe, specs, data, where)


def _settings(common: TrainingSettings, rates: Mapping[str, float], model: str) -> TrainingSettings:
    return common.model_copy(update={"learning_rate": rates.get(model, common.learning_rate)})


def _rates(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, float]:
    rates = {}
    for given in arguments.model_learning_rate:
        model, _, rate = given.rpartition("=")
        if model not in arguments.models:
            parser.error(f"--model-learning-rate: {given!r} names none of the models")
        rates[model] = parse(parser, argparse.Namespace(learning_rate=rate), TrainingSettings).learning_rate
    return rates
