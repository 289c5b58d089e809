"""The command line: `python -m pipelines.checkpoints import SOURCE DEST`, and `verify FOLDER TASK`."""

import argparse
import logging
import sys
from pathlib import Path
from typing import get_args

from pipelines import golden, local
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.manifest import Task
from pipelines.checkpoints.verify import verify
from pipelines.engines.settings import EngineSettings
from pipelines.errors import CheckpointError


def main() -> int:
    """Run one command; 1 where the checkpoint is refused, with the reason on standard error."""
    arguments = _parser().parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        arguments.run(arguments)
    except CheckpointError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.checkpoints", description=__doc__)
    commands = parser.add_subparsers(required=True)
    importer = commands.add_parser("import", help="bring a model into the project's format")
    importer.add_argument("source", help="folder, zip file, Hub id (owner/name@revision) or Lightning .ckpt")
    importer.add_argument("destination", type=Path, help="folder to write; must not exist")
    importer.add_argument("--task", choices=get_args(Task), help="refuse a model for another task")
    importer.add_argument("--base", help="for a .ckpt: folder or Hub id of its base model")
    importer.add_argument("--revision", help="branch, tag or commit on the Hub")
    importer.set_defaults(run=_import)
    verifier = commands.add_parser("verify", help="check hashes, load, and ask the golden inputs")
    verifier.add_argument("folder", type=Path)
    verifier.add_argument("task", choices=get_args(Task))
    verifier.set_defaults(run=_verify)
    return parser


def _import(arguments: argparse.Namespace) -> None:
    import_checkpoint(
        arguments.source,
        arguments.destination,
        task=arguments.task,
        base=arguments.base,
        revision=arguments.revision,
    )


def _verify(arguments: argparse.Namespace) -> None:
    manifest = verify(arguments.folder, arguments.task)
    golden.check(arguments.folder, manifest, local.load_model(arguments.folder, manifest, EngineSettings()))
    sys.stdout.write(f"{manifest.name}: whole, and answers as when it was written\n")


if __name__ == "__main__":
    sys.exit(main())
