"""The commands of Munjang: `munjang COMMAND ...`, and the same commands as `python -m pipelines...`.

Here is the list of commands. The module of a command is imported only when that command is used: most of them import
PyTorch, which takes seconds, and help and shell completion should be quick.
"""

import argparse
import logging
import os
import pkgutil
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import argcomplete

from pipelines.errors import MunjangError, install_hint


@dataclass(frozen=True)
class Command:
    """What a command takes and does.

    description  the text of its help, above the options
    add_options  adds its arguments and options to a parser
    run          does the work, and returns the exit status, None for 0. `arguments.typed` is the command line as the
                 user typed it, quoted for a shell. It raises MunjangError or OSError where the
                 work is refused or fails, and calls `parser.error` where options do not fit together.
    interrupted  what the user is told after Ctrl-C
    """

    description: str | None
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.ArgumentParser, argparse.Namespace], int | None]
    interrupted: str = ""


@dataclass(frozen=True)
class Entry:
    """A command in the list.

    target   where its `Command` is: `module:name`
    summary  what it does, in one line
    example  its arguments in an example
    extra    the extra of this package (see pyproject.toml) whose packages it needs, if any
    """

    target: str
    summary: str
    example: str
    extra: str = ""


CHECKPOINTS = {
    "import": Entry(
        "pipelines.checkpoints.commands:IMPORT",
        "bring a model into the project's format",
        "sentence-transformers/all-MiniLM-L6-v2 my-sts --task sts",
        "models",
    ),
    "quantize": Entry(
        "pipelines.checkpoints.commands:QUANTIZE",
        "add an int8 graph to a checkpoint, if it scores as well",
        "my-sts --calibration klue-sts-v1.1_train.json --dev klue-sts-v1.1_dev.json",
        "models",
    ),
    "trim": Entry(
        "pipelines.checkpoints.commands:TRIM",
        "remove the vocabulary that the given texts do not use",
        "intfloat/multilingual-e5-small my-encoder --scripts Hangul Latin --texts korean.txt english.txt",
        "models",
    ),
    "verify": Entry(
        "pipelines.checkpoints.commands:VERIFY",
        "check the hashes of a checkpoint, load it, and compare its golden outputs",
        "checkpoints/sts sts",
        "models",
    ),
}
TRAINING = {
    "train sts": Entry(
        "pipelines.sts.train:TRAIN",
        "fine-tune encoders for sentence similarity",
        "my-sts --models klue/roberta-base ../my-encoder --heads layers sentence-transformer",
        "train",
    ),
    "train cola": Entry(
        "pipelines.cola.train:TRAIN",
        "fine-tune encoders for grammatical acceptability",
        "my-cola --models roberta-base albert-base-v2 --seeds 0 1 2",
        "train",
    ),
    "train qa": Entry(
        "pipelines.qa.train:TRAIN",
        "fine-tune encoders for extractive question answering",
        "my-qa --models klue/roberta-base --train KorQuAD_v1.0_train.json --dev KorQuAD_v1.0_dev.json",
        "train",
    ),
    "tune": Entry(
        "pipelines.sts.tune:TUNE",
        "search models and settings for sentence similarity",
        "my-sts --trials 30 --lowest-rate 2e-5 --highest-rate 1e-4 --concurrent 2",
        "train",
    ),
}
EVALUATE = Entry(
    "pipelines.measure.evaluate:EVALUATE",
    "measure a checkpoint or a running server on a data file",
    'checkpoints/qa dev.json --engine \'{"dtype": "int8"}\'',
    "models",
)
BULK = Entry(
    "pipelines.bulk.command:BULK",
    "score all rows of files, on all cores of a machine or a cluster",
    "sts s3://bucket/pairs.parquet s3://bucket/scores --keep id --workers 16",
    "bulk",
)
CHAT = {
    "build": Entry("pipelines.chat.commands:BUILD", "make a store of documents", "documents/ stores/mine"),
    "import-faiss": Entry(
        "pipelines.chat.commands:IMPORT_FAISS",
        "make a store of the texts of a LangChain FAISS folder",
        "faiss_index/ stores/mine",
    ),
    "recall": Entry(
        "pipelines.chat.commands:RECALL",
        "measure how often a search finds the passage with the answer",
        "stores/mine questions.jsonl --limit 5",
    ),
}
COMMANDS = (
    CHECKPOINTS
    | TRAINING
    | {"evaluate": EVALUATE, "bulk": BULK}
    | {f"chat {name}": entry for name, entry in CHAT.items()}
)
GROUPS = {
    "train": "fine-tune encoders for a task",
    "chat": "make and measure stores of the persona chat",
    "jobs": "have a server score files in the background",
}


def main(program: str, commands: Mapping[str, Entry]) -> int:
    """Run the command that the user typed, and return the exit status. A program of one command has it under "".

    The status is 1 where the command refuses its input, with the reason on standard error, and 130 after Ctrl-C.
    Options that cannot be read end the program with status 2.
    """
    words = _typed_words()
    root = argparse.ArgumentParser(prog=program)
    parsers = _parsers(root, commands)
    chosen = next((name for name in commands if words[: len(name.split())] == name.split()), None)
    if chosen is None:  # help is wanted, or the words name no command: argparse answers, and ends the program
        argcomplete.autocomplete(root)
        root.parse_args(words)
        return 2
    try:
        command: Command = pkgutil.resolve_name(commands[chosen].target)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"This command needs {error.name}: {install_hint(commands[chosen].extra)}\n")
        return 1
    _set_up(parsers[chosen], commands[chosen], command)
    argcomplete.autocomplete(root)
    arguments = root.parse_args(words, argparse.Namespace(typed=f"{program} {shlex.join(words)}"))
    return _run(command, parsers[chosen], arguments)


def _typed_words() -> list[str]:
    """The words after the program's name; while a shell asks for completions, they are in COMP_LINE."""
    if "_ARGCOMPLETE" in os.environ:
        return os.environ.get("COMP_LINE", "").split()[1:]
    return sys.argv[1:]


def _parsers(root: argparse.ArgumentParser, commands: Mapping[str, Entry]) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command below `root`, still without its options."""
    if "" in commands:
        return {"": root}
    groups = {"": root.add_subparsers(required=True, metavar="COMMAND")}
    parsers = {}
    for name, entry in commands.items():
        group, _, last = name.rpartition(" ")
        if group not in groups:
            parent = groups[""].add_parser(group, help=GROUPS[group])
            groups[group] = parent.add_subparsers(required=True, metavar="COMMAND")
        parsers[name] = groups[group].add_parser(last, help=entry.summary)
    return parsers


def _set_up(parser: argparse.ArgumentParser, entry: Entry, command: Command) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = command.description or f"{entry.summary[0].upper()}{entry.summary[1:]}."
    parser.epilog = f"example:\n  {parser.prog} {entry.example}"
    command.add_options(parser)


def _run(command: Command, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        return command.run(parser, arguments) or 0
    except (MunjangError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"Stopped. {command.interrupted}\n")
        return 130
