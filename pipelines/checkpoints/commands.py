"""The commands for checkpoints: import, quantize, trim and verify."""

import argparse
import sys
from pathlib import Path
from typing import get_args

import transformers
from pydantic import ValidationError

from pipelines.checkpoints import golden, in_process
from pipelines.checkpoints.declared_outputs import refuse_other_outputs
from pipelines.checkpoints.finish import quantize
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.checkpoints.trim import trim
from pipelines.checkpoints.trim_pieces import script
from pipelines.checkpoints.trim_texts import SUFFIXES
from pipelines.command_line import Command
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import Task, read_manifest, verify
from pipelines.format.weights import Weights
from pipelines.format.windows import WindowSettings


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", help="folder, zip file, Hub id (owner/name@revision), PEFT adapter, or .ckpt, .pt, .bin, .safetensors"
    )
    parser.add_argument("destination", type=Path, help="folder to write; must not exist")
    parser.add_argument("--task", choices=get_args(Task), help="refuse models for other tasks")
    parser.add_argument("--base", help="for a file of weights or an adapter: folder or Hub id of its base model")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub")
    parser.add_argument(
        "--windows",
        type=_windows,
        metavar="JSON",
        help='windows used to train an extractor: \'{"max_seq_length": 384, "doc_stride": 128}\'',
    )
    rounded = "number format of the stored weights; other formats are rounded to it (default: that of the source)"
    parser.add_argument("--weights", choices=get_args(Weights), help=rounded)
    OutputOptions.add_to(parser)
    _add_examples(parser, required=False)


def _add_quantize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    OutputOptions.add_to(parser)
    _add_examples(parser, required=True)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=get_args(Task))


def _windows(given: str) -> WindowSettings:
    try:
        return WindowSettings.model_validate_json(given)
    except ValidationError as error:
        faults = (": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in error.errors())
        raise argparse.ArgumentTypeError("; ".join(faults)) from error


def _add_trim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="checkpoint, any source that import accepts, or an encoder to fine-tune")
    parser.add_argument("destination", type=Path, help="folder to write; must not exist")
    files = f"files of texts that must give the same tokens and outputs: {', '.join(SUFFIXES)}, also as .xz"
    parser.add_argument("--texts", type=Path, nargs="+", required=True, metavar="FILE", help=files)
    scripts = "keep all single characters of these Unicode scripts: Hangul, Latin; Common is digits and signs"
    parser.add_argument("--scripts", type=script, nargs="+", default=[], metavar="SCRIPT", help=scripts)
    OutputOptions.add_to(parser)


def _add_examples(parser: argparse.ArgumentParser, *, required: bool) -> None:
    files = "KLUE-STS .json or .csv, CoLA .tsv, SQuAD .json, also as .xz"
    parser.add_argument("--calibration", type=Path, required=required, help=f"examples to calibrate int8: {files}")
    parser.add_argument("--dev", type=Path, required=required, help="other examples; int8 may lose 0.5 points on them")


def _import(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _quiet()
    if (arguments.calibration is None) != (arguments.dev is None):
        raise CheckpointUnsupported(arguments.source, "int8 needs both --calibration and --dev")
    for examples in (arguments.calibration, arguments.dev):
        if examples is not None and not examples.is_file():  # checked before the long import
            raise CheckpointNotFound(str(examples), "there is no such file")
    outputs = OutputOptions.of(arguments)
    import_checkpoint(
        arguments.source,
        arguments.destination,
        task=arguments.task,
        base=arguments.base,
        revision=arguments.revision,
        windows=arguments.windows,
        weights=arguments.weights,
        positive_label=outputs.positive_label,
        scale=outputs.scale,
    )
    if arguments.dev is not None:
        _add_int8(arguments.destination, arguments)


def _trim(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _quiet()
    outputs = OutputOptions.of(arguments)
    trimmed = trim(arguments.source, arguments.destination, arguments.texts, arguments.scripts, outputs)
    sys.stdout.write(f"{trimmed}\n")


def _quantize(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _quiet()
    outputs = OutputOptions.of(arguments)
    manifest = read_manifest(arguments.folder)
    refuse_other_outputs(arguments.folder, manifest, outputs.positive_label, outputs.scale)
    _add_int8(arguments.folder, arguments)


def _add_int8(folder: Path, arguments: argparse.Namespace) -> None:
    task = read_manifest(folder).task
    calibration, dev = (TASKS[task].read(path) for path in (arguments.calibration, arguments.dev))
    quantize(folder, verify(folder, task), calibration, dev)


def _verify(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _quiet()
    manifest = verify(arguments.folder, arguments.task)
    golden.check(arguments.folder, manifest, in_process.load_model(arguments.folder, manifest, EngineSettings()))
    sys.stdout.write(f"{manifest.name}: intact, and gives the recorded answers\n")
    if manifest.untraced is not None:
        sys.stdout.write(f"It has no ONNX graph: it could not be traced: {manifest.untraced}\n")


def _quiet() -> None:
    """Silence the reports and progress bars of transformers: the import itself reports missing weights."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


IMPORT = Command(None, _add_import, _import)
QUANTIZE = Command(None, _add_quantize, _quantize)
TRIM = Command(None, _add_trim, _trim)
VERIFY = Command(None, _add_verify, _verify)
