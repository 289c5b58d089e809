"""The tuning command: search a task's settings, and write the best trial as a checkpoint with a table of all trials."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Generic

import torch
from pydantic import BaseModel

from pipelines.command_line import Command
from pipelines.format.manifest import Manifest
from pipelines.text.rows import Row
from pipelines.training import command
from pipelines.training.base import Base
from pipelines.training.command import add_options, parse
from pipelines.training.console import DistantProgress, silent
from pipelines.training.export import export
from pipelines.training.on_ray import cluster
from pipelines.training.on_tune import SearchResult, search
from pipelines.training.recipe import Data, Recipe
from pipelines.training.results import Config, draw_trials, tabulate, winner
from pipelines.training.run_spec import RunSpec, search_name
from pipelines.training.settings import SearchSettings, TrainingSettings, TuneSettings
from pipelines.training.trainer import Trainer, Worker

BATCH_SIZES = (16, 32, 64)
SEARCHED = {"epochs", "batch_size", "learning_rate", "weight_decay"}
TABLE, PICTURE = "trials.md", "trials.png"
STOPPED = "The same command continues: finished trials are kept, others continue from their last complete epoch."


@dataclass(frozen=True)
class Search(Generic[Row]):
    """A search: the models, heads and settings to choose from, and the data. `settings` hold what all trials share."""

    recipe: Recipe[Row]
    bases: Mapping[str, Base]
    choices: Mapping[str, list[Any]]
    options: BaseModel
    settings: TrainingSettings
    space: SearchSettings
    data: Data[Row]
    where: TuneSettings

    @property
    def figure(self) -> str:
        """The name of the figure that the search maximizes."""
        return next(iter(self.recipe.figures))

    def spec(self, config: Config) -> RunSpec[Row]:
        """The run of the trial with this choice of settings."""
        settings = self.settings.model_copy(update={name: config[name] for name in SEARCHED})
        base = self.bases[config["model"]]
        return RunSpec(self.recipe, config["model"], base, config["head"], self.options, settings)

    def specs(self) -> Iterator[RunSpec[Row]]:
        """One run for each model with each head."""
        for (model, base), head in product(self.bases.items(), self.choices["head"]):
            yield RunSpec(self.recipe, model, base, head, self.options, self.settings)

    def start(self, config: Config) -> Trainer[Row]:
        """The training loop of a trial, made in the process of that trial."""
        spec, gpu = self.spec(config), self.where.gpus_per_trial > 0
        torch.set_num_threads(self.where.cpus_per_trial)
        place = Worker(device=torch.device("cuda" if gpu else "cpu"))
        return Trainer(
            spec.load, self.data.stages, self.data.dev, spec.settings, place, partial(DistantProgress, silent)
        )

    def run(self) -> SearchResult:
        """Run all trials on Ray."""
        decides = (self.options, self.choices, self.space)
        bases = list(self.bases.values())
        label = f"{self.recipe.task}-tune"
        name = search_name(label, bases, self.settings, decides, self.data.stages, self.data.dev)
        with cluster():
            return search(name, self.start, self.figure, self.choices, self.space, self.settings.seed, self.where)


def command_of(recipe: Recipe[Any], description: str | None, heads: list[str]) -> Command:
    """The command that searches a task's settings; it tries `heads` unless the user names others."""
    return Command(description, partial(_add_options, recipe, heads), partial(_run, recipe), STOPPED)


def _add_options(recipe: Recipe[Any], heads: list[str], parser: argparse.ArgumentParser) -> None:
    command.add_task_options(parser, recipe)
    parser.set_defaults(heads=heads)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=BATCH_SIZES, help="(default: %(default)s)")
    add_options(parser, SearchSettings)
    add_options(parser, recipe.training, without=SEARCHED)
    add_options(parser, TuneSettings)


def _run(recipe: Recipe[Any], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    command.set_up_logging()
    plan = _search(recipe, parser, arguments)
    found = plan.run()
    sys.stdout.write(f"\n{tabulate(found.trials, recipe.sort_key)}\n\n")
    manifest = _export(plan, found, arguments)
    command.tell_written(manifest, arguments.output)


def _export(plan: Search[Any], found: SearchResult, arguments: argparse.Namespace) -> Manifest:
    best = winner(found.trials, plan.recipe.sort_key)
    spec, trained = plan.spec(best.config), found.trained(best)
    learner = spec.load()
    learner.model.load_state_dict(trained.weights)
    minutes = sum(sum(trial.history.seconds) for trial in found.trials) / 60
    provenance = spec.provenance(plan.data, trained.history, arguments.typed, minutes)
    table = (
        f"# Trials on {plan.data.dev_name}\n\n{tabulate(found.trials, plan.recipe.sort_key)}\n\n![Trials]({PICTURE})\n"
    )
    picture = partial(draw_trials, trials=found.trials, figure=plan.figure, sort_key=plan.recipe.sort_key)
    int8 = plan.recipe.int8_examples(plan.data)
    return export(learner, provenance, arguments.output, {TABLE: table}, int8, {PICTURE: picture}, arguments.weights)


def _search(recipe: Recipe[Any], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Search[Any]:
    """Everything that can be refused is, before the first trial. Raises MunjangError."""
    space = parse(parser, arguments, SearchSettings)
    if space.lowest_rate >= space.highest_rate or space.lowest_decay >= space.highest_decay:
        parser.error("--lowest-rate and --lowest-decay must be below the highest")
    settings = [parse(parser, arguments, recipe.training, batch_size=size) for size in arguments.batch_sizes]
    command.refuse_to_overwrite(arguments.output)
    bases = command.bases_of(arguments)
    chosen = Search(
        recipe,
        bases,
        {"model": list(bases), "head": command.heads_of(recipe, arguments), "batch_size": list(arguments.batch_sizes)},
        parse(parser, arguments, recipe.options),
        settings[0],
        space,
        command.read_data(recipe, parser, arguments),
        parse(parser, arguments, TuneSettings),
    )
    command.refuse_unfit(chosen.specs())
    return chosen
