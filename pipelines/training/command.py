"""What the training commands of all tasks share: options, data, checks before the first step, and the last lines."""

import argparse
import logging
import math
import re
import sys
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import transformers
from pydantic import BaseModel, ValidationError

from pipelines.errors import CheckpointUnsupported, DataNotFound
from pipelines.format.manifest import Manifest
from pipelines.format.weights import Weights
from pipelines.text.rows import Row
from pipelines.training.base import Base
from pipelines.training.recipe import Data, Recipe
from pipelines.training.run_spec import RunSpec
from pipelines.training.stage import Source, Stage

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=BaseModel)


def add_options(parser: argparse.ArgumentParser, settings: type[BaseModel], *, without: Collection[str] = ()) -> None:
    """One option for each field of `settings`, with its description and default; `parse` reads them."""
    words = re.findall("[A-Z][a-z]*", settings.__name__)
    group = parser.add_argument_group(" ".join(words).capitalize())
    for name, field in settings.model_fields.items():
        if name not in without:
            text = (field.description or "").replace("%", "%%") + " (default: %(default)s)"
            group.add_argument(_option(name), default=field.default, help=text, **_kind(field.annotation))


def parse(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, settings: type[Settings], **others: Any
) -> Settings:
    """The settings, with `others` for fields that have no option; a bad value ends the program, as argparse does."""
    given = {name: value for name, value in vars(arguments).items() if name in settings.model_fields}
    try:
        return settings.model_validate(given | others)
    except ValidationError as error:
        faults = (": ".join([*map(_option, map(str, fault["loc"][:1])), fault["msg"]]) for fault in error.errors())
        parser.error("; ".join(faults))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(annotation: Any) -> dict[str, Any]:
    """Whatever else argparse must know; numbers are left to pydantic, which knows their bounds."""
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    plain = next((kind for kind in get_args(annotation) if kind is not type(None)), annotation)
    return {"metavar": plain.__name__.upper()}


def add_task_options(parser: argparse.ArgumentParser, recipe: Recipe[Any]) -> None:
    """Add the options that all training commands of a task share: output folder, models, heads, data, task settings."""
    parser.add_argument("output", type=Path, help="folder of the checkpoint to write; must not exist")
    parser.add_argument("--models", nargs="+", default=recipe.models, help="Hub ids (owner/name@revision) or folders")
    if len(recipe.heads) > 1:
        heads = list(recipe.heads)
        parser.add_argument(
            "--heads", nargs="+", choices=heads, default=heads, help="of each model (default: %(default)s)"
        )
    parser.add_argument(
        "--train",
        action="append",
        nargs="+",
        metavar="SOURCE",
        help=f"rows to train on, mixed; given again, a further stage of training: {recipe.source}",
    )
    parser.add_argument(
        "--train-weight",
        action="append",
        default=[],
        metavar="SOURCE=WEIGHT",
        help="how often an epoch takes each row of one of the sources: 0.5 is a half of them, 2 each twice",
    )
    parser.add_argument("--dev", default=recipe.default_dev, help="rows to measure on: a source as of --train")
    for name, column in recipe.columns.items():
        text = f"{column.meaning} (default: %(default)s)"
        parser.add_argument(f"--{name}-column", default=column.default, help=text)
    stored = "round the exported weights to this; figures of training are of those before (default: float32)"
    parser.add_argument("--weights", choices=get_args(Weights), help=stored)
    add_options(parser, recipe.options)


def read_data(recipe: Recipe[Row], parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Data[Row]:
    """The rows that the command line names. Raises DataError."""
    columns = [getattr(arguments, f"{name}_column") for name in recipe.columns]
    dev = recipe.read(arguments.dev, columns, "validation")
    stages = arguments.train or [[recipe.default_train]]
    weights = _weights(parser, arguments)

    def source(name: str) -> Source[Row]:
        train = recipe.read(name, columns, "train")
        kept = recipe.without_dev_rows(train, dev)
        if not kept:
            raise DataNotFound(name, "all of it is among what is measured on")
        left_out = len(train) - len(kept)
        logger.info(
            "%s: %d rows to train on, %d left out for the %d to measure on", name, len(kept), left_out, len(dev)
        )
        return Source(kept, name, weights.get(name, 1.0))

    return Data([Stage([source(name) for name in names]) for names in stages], dev, arguments.dev)


def bases_of(arguments: argparse.Namespace) -> dict[str, Base]:
    """The models, by what the user calls them. Raises as `Base.find`."""
    return {model: Base.find(model) for model in arguments.models}


def _weights(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, float]:
    """By source; what names no source or is no number above 0 ends the program."""
    weights = {}
    for given in arguments.train_weight:
        source, _, weight = given.rpartition("=")
        if source not in chain(*(arguments.train or [])):
            parser.error(f"--train-weight: {given!r} names none of the sources")
        try:
            weights[source] = float(weight)
        except ValueError:
            weights[source] = 0.0
        if not 0 < weights[source] < math.inf:
            parser.error(f"--train-weight: {weight!r} is no number above 0")
    return weights


def heads_of(recipe: Recipe[Any], arguments: argparse.Namespace) -> list[str]:
    """Those that the user wants, in their order."""
    return list(getattr(arguments, "heads", recipe.heads))


def refuse_unfit(specs: Iterable[RunSpec[Any]]) -> None:
    """Load every model with every head once. Raises CheckpointError where that fails: it would after hours, too."""
    for spec in {spec.label: spec for spec in specs}.values():
        spec.load()


def refuse_to_overwrite(folder: Path) -> None:
    """Raises CheckpointUnsupported where there is something in the place of what will be written."""
    if folder.exists():
        raise CheckpointUnsupported(str(folder), "exists already")


def set_up_logging() -> None:
    """Log what training does, and less of what loading and exporting do: transformers reports every new head."""
    logging.getLogger("pipelines.checkpoints").setLevel(logging.WARNING)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def tell_written(manifest: Manifest, folder: Path) -> None:
    """The last lines of a command: what was made, and how to serve it."""
    if manifest.int8 is not None:
        sys.stdout.write(f"int8, which CPUs are served by: {manifest.int8}\n")
    sys.stdout.write(f"{manifest.name}, epoch by epoch in {folder}; serve it with\n")
    sys.stdout.write(f"make serve {manifest.task.upper()}={folder}\n")
