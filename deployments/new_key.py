"""`munjang key`: make an API key, show it once, and add its hash to a file of keys."""

import argparse
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from deployments.keys import SCOPES, Key, hash_of, new_secret, read_keys
from pipelines.command_line import Command
from pipelines.errors import ConfigError

OWNER_ONLY = 0o600


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="file of keys; made if there is none, readable by you alone")
    parser.add_argument("--name", required=True, help="tells the keys of the file apart; letters, digits, - _ .")
    parser.add_argument("--scopes", nargs="+", choices=SCOPES, required=True, help="the routes that the key opens")
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="quota of each ingress replica")
    parser.add_argument("--bytes-per-minute", type=int, metavar="N", help="the same for the bytes of requests' bodies")


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Raises ConfigError for a file that can't be read and a name that it has already."""
    secret = new_secret()
    try:
        key = Key(
            name=arguments.name,
            sha256=hash_of(secret),
            scopes=frozenset(arguments.scopes),
            requests_per_minute=arguments.requests_per_minute,
            bytes_per_minute=arguments.bytes_per_minute,
        )
    except ValidationError as error:
        parser.error("; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors()))
    add_key(arguments.file, key)
    sys.stdout.write(f"{secret.get_secret_value()}\n")
    sys.stderr.write(f"This is the key {key.name}. It is shown only now; {arguments.file} has its hash.\n")


KEY = Command(
    "Make a random API key, print it once, and add its hash to a file of keys.\n"
    "A server that uses the file accepts the key within a second. To withdraw a key, delete its lines.",
    _add_options,
    _run,
)


def add_key(file: Path, key: Key) -> None:
    """Append a key to a file, which is made if there is none. Raises ConfigError, see `_run`."""
    if file.exists() and any(other.name == key.name for other in read_keys(file)):
        raise ConfigError(f"{file} has a key {key.name} already")
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(_toml(key))


def _toml(key: Key) -> str:
    """One table. The pattern of names leaves nothing to escape."""
    scopes = ", ".join(f'"{scope}"' for scope in SCOPES if scope in key.scopes)
    lines = ["", "[[keys]]", f'name = "{key.name}"', f'sha256 = "{key.sha256}"', f"scopes = [{scopes}]"]
    quotas = key.model_dump(include={"requests_per_minute", "bytes_per_minute"}, exclude_none=True)
    return "\n".join([*lines, *(f"{name} = {value}" for name, value in quotas.items()), ""])
