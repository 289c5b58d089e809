"""Score all rows of a file or of a folder of files, on all cores of a machine or of a Ray cluster.

INPUT is a .jsonl, .csv or .parquet file, or a folder with files of one of these formats. OUTPUT is a folder. Both may
be in an object store (s3://, gs://, abfs://, ...). Rows keep their order and get the fields of the answers of the
server's routes. Rows that can't be scored are listed in OUTPUT/_errors.jsonl, with the reasons. The same command goes
on where an interrupted one ended.
"""

import argparse
import sys
from typing import get_args

from pydantic import ValidationError

from pipelines.bulk.job import Request, complete
from pipelines.bulk.source import FORMATS
from pipelines.bulk.tasks import BULK_TASKS
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.command_line import Command
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import Role


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", choices=BULK_TASKS, help="embeddings takes the checkpoints of sts")
    parser.add_argument("input", help="file or folder, as a path or URL")
    parser.add_argument("output", help="folder of the results, as a path or URL; new, or that of an interrupted run")
    parser.add_argument("--checkpoint", help="any name that `make serve` takes (default: checkpoints/TASK)")
    OutputOptions.add_to(parser)
    fields = "; ".join(f"{name}: {', '.join(task.fields)}" for name, task in BULK_TASKS.items())
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="FIELD=COLUMN",
        help=f"columns of the input that have other names than the fields of the task ({fields})",
    )
    parser.add_argument(
        "--keep",
        nargs="+",
        metavar="COLUMN",
        help="columns of the input to copy (default: all; from .jsonl to another format, the task's fields)",
    )
    parser.add_argument("--format", choices=FORMATS, help="of the output (default: that of the input)")
    parser.add_argument("--workers", type=_positive, help="processes (default: as many as cores allow, or one per GPU)")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU cores of each worker (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="auto: GPUs if the cluster has any")
    parser.add_argument("--engine", default="{}", help='other engine settings as JSON, for example {"dtype": "int8"}')
    parser.add_argument(
        "--role",
        choices=get_args(Role),
        default="document",
        help="for embeddings: which prompt of the checkpoint is put before the texts (default: %(default)s)",
    )
    parser.add_argument(
        "--part-bytes",
        type=_positive,
        metavar="BYTES",
        help="of the input that become one file of the output (default: up to 1 MiB, on GPUs 16 MiB)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _score(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Score the rows, and say how many; 1 if none could be scored."""
    finished = complete(_request(parser, arguments))
    aside = f"; {finished.set_aside:,} set aside, see {arguments.output}/_errors.jsonl" if finished.set_aside else ""
    sys.stdout.write(f"{finished.scored:,} rows scored{aside}\n")
    return 0 if finished.scored else 1


def _request(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Request:
    return Request(
        task=arguments.task,
        input=arguments.input,
        output=arguments.output,
        checkpoint=arguments.checkpoint or f"checkpoints/{BULK_TASKS[arguments.task].checkpoint}",
        outputs=OutputOptions.of(arguments),
        columns=_columns(parser, arguments),
        keep=None if arguments.keep is None else tuple(arguments.keep),
        format=arguments.format,
        role=arguments.role,
        engine=_engine(parser, arguments),
        workers=arguments.workers,
        threads=arguments.threads,
        part_bytes=arguments.part_bytes,
    )


def _columns(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, str]:
    """The columns that the command line names, by field."""
    fields = BULK_TASKS[arguments.task].fields
    columns = {}
    for given in arguments.columns:
        name, _, column = given.partition("=")
        if name not in fields or not column:
            parser.error(f"--columns: {given!r} is not FIELD=COLUMN with a FIELD of {', '.join(fields)}")
        columns[name] = column
    return columns


def _engine(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> EngineSettings:
    try:
        settings = EngineSettings.model_validate_json(arguments.engine)
    except ValidationError as error:
        parser.error(f"--engine: {'; '.join(str(fault['msg']) for fault in error.errors())}")
    if {"threads", "slots", "lone_threads"} & settings.model_fields_set:
        parser.error("--engine: use --threads and --workers instead of threads, slots and lone_threads")
    return settings if arguments.device is None else settings.model_copy(update={"device": arguments.device})


BULK = Command(__doc__, _add_options, _score, "Run the same command again to go on.")
