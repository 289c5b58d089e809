"""Compares pretrained models and heads on a task, keeps the best after its best epoch, and writes it as a checkpoint.

What was interrupted goes on from its last whole epoch when the same command is run again.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

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
STOPPED = "The same command goes on from the last whole epoch."


@dataclass(frozen=True)
class Result(Generic[Row]):
    """What came of one of the runs."""

    spec: RunSpec[Row]
    trained: RunResult

    @property
    def entry(self) -> RunHistory:
        """For comparison."""
        return RunHistory(self.spec.label, self.spec.settings.seed, self.trained.history)


@dataclass(frozen=True)
class Experiment(Generic[Row]):
    """What is compared on what."""

    recipe: Recipe[Row]
    specs: Sequence[RunSpec[Row]]
    data: Data[Row]
    where: RaySettings

    def results(self) -> Iterator[Result[Row]]:
        """All runs, one after the other, on Ray."""
        with cluster():
            for spec in self.specs:
                trained = self._fit(spec)
                remark = self.recipe.remark(spec.model, trained.history.epochs[-1])
                if remark is not None:
                    logger.warning("%s", remark)
                yield Result(spec, trained)

    def tables(self, entries: Sequence[RunHistory]) -> str:
        """Markdown, with a table for each of the figures that matter."""
        titles = self.recipe.figures.items()
        return "\n".join(f"# {title} on {self.data.dev_name}\n\n{compare(entries, name)}\n" for name, title in titles)

    def _fit(self, spec: RunSpec[Row]) -> RunResult:
        name = spec.run_name(self.data)
        return fit(name, spec.load, self.data.stages, self.data.dev, spec.settings, self.where)


def main(recipe: Recipe[Any], module: str, about: str | None) -> int:
    """Train, compare, export; 1 where models or data are refused, 130 where the user stopped it."""
    parser = parser_of(recipe, module, about)
    return command.run(partial(_run, recipe, parser, parser.parse_args()), STOPPED)


def parser_of(recipe: Recipe[Any], module: str, about: str | None) -> argparse.ArgumentParser:
    """The options of a comparison."""
    parser = command.parser_of(recipe, module, about)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each model is trained once with each")
    parser.add_argument(
        "--model-learning-rate", action="append", default=[], metavar="MODEL=RATE", help="for one of the models"
    )
    add_options(parser, recipe.training, without={"seed"})
    add_options(parser, RaySettings)
    return parser


def _run(recipe: Recipe[Any], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    experiment = _experiment(recipe, parser, arguments)
    entries: list[RunHistory] = []
    winner: Result[Any] | None = None
    for result in experiment.results():
        entries.append(result.entry)
        if better(result.entry, winner.entry if winner else None, recipe.sort_key):
            winner = result
    sys.stdout.write(f"\n{compare(entries, next(iter(recipe.figures)))}\n\n")
    if winner is not None:
        manifest = _export(experiment, entries, winner, parser, arguments)
        command.tell_written(manifest, arguments.output)


def _export(
    experiment: Experiment[Any],
    entries: Sequence[RunHistory],
    winner: Result[Any],
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
) -> Manifest:
    learner = winner.spec.load()
    learner.model.load_state_dict(winner.trained.weights)
    minutes = sum(sum(entry.history.seconds) for entry in entries) / 60
    provenance = winner.spec.provenance(experiment.data, winner.trained.history, command.command_of(parser), minutes)
    texts = {RESULTS: experiment.tables(entries)}
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
