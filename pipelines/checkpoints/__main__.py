"""The command line: `python -m pipelines.checkpoints import SOURCE DEST`, `trim SOURCE DEST --texts FILE`,
`quantize FOLDER`, `verify FOLDER TASK`."""

import argparse
import logging
import sys
from pathlib import Path
from typing import get_args

import transformers
from pydantic import ValidationError

from pipelines.checkpoints import golden, in_process
from pipelines.checkpoints.finish import quantize
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.quality import Examples
from pipelines.checkpoints.trim import trim
from pipelines.checkpoints.trim_pieces import script
from pipelines.checkpoints.trim_texts import SUFFIXES
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointError, CheckpointNotFound, CheckpointUnsupported, DataError
from pipelines.format.manifest import Task, read_manifest, verify
from pipelines.format.weights import Weights
from pipelines.format.windows import WindowSettings


def main() -> int:
    """Run one command; 1 where the checkpoint is refused, with the reason on standard error."""
    arguments = _parser().parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    transformers.utils.logging.set_verbosity_error()  # what weights lack is said here, or is no matter
    transformers.utils.logging.disable_progress_bar()
    try:
        arguments.run(arguments)
    except (CheckpointError, DataError) as error:
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
    importer.add_argument(
        "--windows",
        type=_windows,
        metavar="JSON",
        help='that an extractor was trained with: \'{"max_seq_length": 384, "doc_stride": 128}\'',
    )
    rounded = "store weights so, rounded where need be (default: as the source stores them)"
    importer.add_argument("--weights", choices=get_args(Weights), help=rounded)
    _add_examples(importer, required=False)
    importer.set_defaults(run=_import)
    _add_trim(commands.add_parser("trim", help="leave out the vocabulary that some texts have no use for"))
    quantizer = commands.add_parser("quantize", help="add an int8 graph, if it is as good")
    quantizer.add_argument("folder", type=Path)
    _add_examples(quantizer, required=True)
    quantizer.set_defaults(run=_quantize)
    verifier = commands.add_parser("verify", help="check hashes, load, and ask the golden inputs")
    verifier.add_argument("folder", type=Path)
    verifier.add_argument("task", choices=get_args(Task))
    verifier.set_defaults(run=_verify)
    return parser


def _windows(given: str) -> WindowSettings:
    try:
        return WindowSettings.model_validate_json(given)
    except ValidationError as error:
        faults = (": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in error.errors())
        raise argparse.ArgumentTypeError("; ".join(faults)) from error


def _add_trim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="checkpoint, anything that import takes, or an encoder to fine-tune")
    parser.add_argument("destination", type=Path, help="folder to write; must not exist")
    files = f"their texts give the same tokens and outputs as before: {', '.join(SUFFIXES)}; .xz is unpacked"
    parser.add_argument("--texts", type=Path, nargs="+", required=True, metavar="FILE", help=files)
    scripts = "Unicode scripts of which all single characters stay: Hangul, Latin; Common is digits, signs"
    parser.add_argument("--scripts", type=script, nargs="+", default=[], metavar="SCRIPT", help=scripts)
    parser.set_defaults(run=_trim)


def _add_examples(parser: argparse.ArgumentParser, *, required: bool) -> None:
    files = "KLUE-STS .json or .csv, CoLA .tsv, SQuAD .json; .xz is unpacked"
    parser.add_argument("--calibration", type=Path, required=required, help=f"examples to fit int8 scales on: {files}")
    parser.add_argument("--dev", type=Path, required=required, help="other examples, on which int8 may lose 0.5 points")


def _import(arguments: argparse.Namespace) -> None:
    if (arguments.calibration is None) != (arguments.dev is None):
        raise CheckpointUnsupported(arguments.source, "int8 needs both --calibration and --dev")
    for examples in (arguments.calibration, arguments.dev):
        if examples is not None and not examples.is_file():  # said before the work, not behind it
            raise CheckpointNotFound(str(examples), "there is no such file")
    import_checkpoint(
        arguments.source,
        arguments.destination,
        task=arguments.task,
        base=arguments.base,
        revision=arguments.revision,
        windows=arguments.windows,
        weights=arguments.weights,
    )
    if arguments.dev is not None:
        arguments.folder = arguments.destination
        _quantize(arguments)


def _trim(arguments: argparse.Namespace) -> None:
    trimmed = trim(arguments.source, arguments.destination, arguments.texts, arguments.scripts)
    sys.stdout.write(f"{trimmed}\n")


def _quantize(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder
    task = read_manifest(folder).task
    calibration, dev = (Examples.read(path, task) for path in (arguments.calibration, arguments.dev))
    quantize(folder, verify(folder, task), calibration, dev)


def _verify(arguments: argparse.Namespace) -> None:
    manifest = verify(arguments.folder, arguments.task)
    golden.check(arguments.folder, manifest, in_process.load_model(arguments.folder, manifest, EngineSettings()))
    sys.stdout.write(f"{manifest.name}: whole, and answers as when it was written\n")


if __name__ == "__main__":
    sys.exit(main())
