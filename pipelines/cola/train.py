"""Compares pretrained models on CoLA, keeps the best after its best epoch, and writes it as a checkpoint.

python -m pipelines.cola.train my-cola --models google-bert/bert-base-uncased ../my-encoder --seeds 0 1 2

What was interrupted goes on from its last whole epoch when the same command is run again.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import transformers

from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.cola.data import COLA_DEV, COLA_TRAIN, Judgement, judgement, without
from pipelines.cola.learner import ColaLearner
from pipelines.data_files import data_folder
from pipelines.errors import CheckpointUnsupported, MunjangError
from pipelines.training.base import Base
from pipelines.training.comparison import Entry, better, compare
from pipelines.training.export import Story, export
from pipelines.training.identity import run_name
from pipelines.training.on_ray import Trained, cluster, fit
from pipelines.training.options import add_options, parse
from pipelines.training.rows import SOURCE, read_rows
from pipelines.training.settings import RaySettings, TrainingSettings

logger = logging.getLogger(__name__)

MODELS = (
    "google-bert/bert-base-uncased",
    "distilbert/distilbert-base-uncased",
    "distilbert/distilroberta-base",
    "FacebookAI/roberta-base",
    "albert/albert-base-v2",
)
RESULTS = "results.md"
COLLAPSED = (
    "%s calls every sentence the same: it has collapsed. The learning rate is too high for it so early; "
    "raise --warmup-ratio, or lower its own with --model-learning-rate %s=1e-5"
)


@dataclass(frozen=True)
class Experiment:
    """What is compared on what."""

    bases: dict[str, Base]
    seeds: Sequence[int]
    rates: dict[str, float]
    train: list[Judgement]
    dev: list[Judgement]
    max_tokens: int
    settings: TrainingSettings
    where: RaySettings

    def settings_of(self, model: str, seed: int) -> TrainingSettings:
        """Those of one run."""
        own = {"seed": seed, "learning_rate": self.rates.get(model, self.settings.learning_rate)}
        return self.settings.model_copy(update=own)

    def run(self, model: str, seed: int) -> Trained:
        """One model with one seed, on Ray."""
        base, settings = self.bases[model], self.settings_of(model, seed)
        name = run_name(f"cola-{base.name}-{seed}", base, settings, self.max_tokens, self.train, self.dev)
        return fit(name, partial(ColaLearner.load, base, self.max_tokens), self.train, self.dev, settings, self.where)

    def entries(self) -> Iterator[tuple[Entry, Trained]]:
        """All runs, one after the other."""
        for model in self.bases:
            for seed in self.seeds:
                trained = self.run(model, seed)
                if trained.history.epochs[-1]["called_acceptable"] in (0.0, 1.0):
                    logger.warning(COLLAPSED, model, model)
                yield Entry(model, seed, trained.history), trained


def main() -> int:
    """Train, compare, export; 1 where models or data are refused, 130 where the user stopped it."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    logging.getLogger("pipelines.checkpoints").setLevel(logging.WARNING)
    transformers.utils.logging.set_verbosity_error()  # a new head is what is wanted
    transformers.utils.logging.disable_progress_bar()
    try:
        experiment = _experiment(parser, arguments)
        _compare(experiment, arguments)
    except MunjangError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command goes on from the last whole epoch.\n")
        return 130
    return 0


def _compare(experiment: Experiment, arguments: argparse.Namespace) -> None:
    entries: list[Entry] = []
    winner: tuple[Entry, Trained] | None = None
    with cluster():
        for entry, trained in experiment.entries():
            entries.append(entry)
            if better(entry, winner and winner[0], ColaLearner.key):
                winner = entry, trained
            results = compare(entries, "matthews")
    sys.stdout.write(f"\n{results}\n\n")
    if winner is not None:
        manifest = _export(experiment, entries, *winner, arguments)
        sys.stdout.write(f"{manifest.name}, epoch by epoch in {arguments.output}; serve it with\n")
        sys.stdout.write(f"make serve COLA={arguments.output}\n")


def _export(
    experiment: Experiment, entries: Sequence[Entry], entry: Entry, trained: Trained, arguments: argparse.Namespace
) -> Manifest:
    base, settings = experiment.bases[entry.model], experiment.settings_of(entry.model, entry.seed)
    learner = ColaLearner.load(base, experiment.max_tokens)
    learner.model.load_state_dict(trained.weights)
    story = Story(
        task="cola",
        base=base,
        training=Training(
            data=[arguments.train],
            seed=entry.seed,
            command=shlex.join(["python", "-m", "pipelines.cola.train", *sys.argv[1:]]),
            minutes=round(sum(sum(one.history.seconds) for one in entries) / 60, 1),
        ),
        settings=settings.model_dump() | {"max_tokens": experiment.max_tokens},
        dev=arguments.dev,
        history=trained.history,
        best=trained.history.best(ColaLearner.key),
    )
    results = f"# Matthews correlation on {arguments.dev}\n\n{compare(entries, 'matthews')}\n"
    return export(learner, story, arguments.output, {RESULTS: results})


def _experiment(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Experiment:
    """Everything that can be refused is, before the first step. Raises MunjangError."""
    if arguments.output.exists():
        raise CheckpointUnsupported(str(arguments.output), "exists already")
    settings = parse(parser, arguments, TrainingSettings)
    where = parse(parser, arguments, RaySettings)
    columns = (arguments.text_column, arguments.label_column)
    dev = read_rows(arguments.dev, columns, judgement, split="validation")
    train = read_rows(arguments.train, columns, judgement, split="train")
    kept = without(train, {row.sentence for row in dev})
    logger.info(
        "%d rows to train on, %d left out that are among the %d to measure on",
        len(kept),
        len(train) - len(kept),
        len(dev),
    )
    return Experiment(
        bases={model: Base.find(model) for model in arguments.models},
        seeds=arguments.seeds,
        rates=_rates(parser, arguments),
        train=kept,
        dev=dev,
        max_tokens=arguments.max_tokens,
        settings=settings,
        where=where,
    )


def _rates(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, float]:
    rates = {}
    for given in arguments.model_learning_rate:
        model, _, rate = given.rpartition("=")
        if model not in arguments.models:
            parser.error(f"--model-learning-rate: {given!r} names none of the models")
        rates[model] = parse(parser, argparse.Namespace(learning_rate=rate), TrainingSettings).learning_rate
    return rates


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.cola.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder of the checkpoint to write; must not exist")
    parser.add_argument("--models", nargs="+", default=MODELS, help="Hub ids (owner/name@revision) or folders")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each model is trained once with each")
    parser.add_argument(
        "--model-learning-rate", action="append", default=[], metavar="MODEL=RATE", help="for one of the models"
    )
    parser.add_argument("--train", default=str(data_folder() / COLA_TRAIN), help=f"rows to train on: {SOURCE}")
    parser.add_argument("--dev", default=str(data_folder() / COLA_DEV), help="rows to measure on, likewise")
    parser.add_argument("--text-column", default="4", help="name, or number from 1 (default: %(default)s, as CoLA's)")
    parser.add_argument("--label-column", default="2", help="of 0 and 1, 1 is acceptable (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=128, help="longer inputs are cut (default: %(default)s)")
    add_options(parser, TrainingSettings, without={"seed"})
    add_options(parser, RaySettings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
