"""Command-line options made of the settings' fields."""

import argparse
import re
from collections.abc import Collection
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

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
