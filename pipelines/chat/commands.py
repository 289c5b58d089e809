"""The commands of the persona chat: build a store, import one of LangChain, and measure a store."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pipelines.chat.embedding import Embedder
from pipelines.chat.recall import read_questions, recall
from pipelines.chat.store.build import build
from pipelines.chat.store.chunks import MAX_CHARACTERS
from pipelines.chat.store.documents import READERS, Document, read_documents
from pipelines.chat.store.langchain import INDEX_NAME, read_faiss
from pipelines.chat.store.store import Store
from pipelines.checkpoints.resolve import resolve
from pipelines.command_line import Command
from pipelines.errors import StoreMismatch


def _add_build(parser: argparse.ArgumentParser) -> None:
    kinds = ", ".join(suffix[1:] for suffix in READERS)
    parser.add_argument(
        "documents",
        type=Path,
        help=f"a file or a folder: {kinds}; csv and jsonl have a column text and may have a column name",
    )
    _add_build_options(parser)


def _add_import_faiss(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder with index.faiss and index.pkl")
    parser.add_argument(
        "--index-name", default=INDEX_NAME, metavar="NAME", help="the files are NAME.faiss and NAME.pkl (%(default)s)"
    )
    parser.add_argument(
        "--inert",
        action="append",
        default=[],
        metavar="MODULE.NAME",
        help="a class of yours in the metadata that only holds data: its objects are skipped; may be repeated",
    )
    _add_build_options(parser)


def _add_recall(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path)
    parser.add_argument("questions", type=Path, help='JSON Lines: {"question", "document", "fact"}')
    parser.add_argument("--limit", type=_count, default=5, help="passages found per question (%(default)s)")
    _add_checkpoint(parser)


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="folder to write; an older store in it is replaced in one step")
    parser.add_argument("--max-characters", type=_count, default=MAX_CHARACTERS, help="longest chunk (%(default)s)")
    _add_checkpoint(parser)


def _count(argument: str) -> int:
    count = int(argument)
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default="checkpoints/sts",
        help="STS checkpoint that embeds the texts; name the one that is served (%(default)s)",
    )


def _build(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _build_store(read_documents(arguments.documents), arguments)


def _import_faiss(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _build_store(read_faiss(arguments.folder, arguments.index_name, arguments.inert), arguments)


def _build_store(documents: Iterable[Document], arguments: argparse.Namespace) -> None:
    embedder = Embedder.load(resolve(arguments.checkpoint, "sts"))
    count = build(documents, arguments.store, embedder, max_characters=arguments.max_characters)
    sys.stdout.write(f"{arguments.store}: {count} chunks\n")


def _recall(_parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    embedder = Embedder.load(resolve(arguments.checkpoint, "sts"))

    async def measured() -> str:
        store = await Store.open(arguments.store)
        if store.checkpoint != embedder.checkpoint:
            raise StoreMismatch(store.name, store.checkpoint, embedder.checkpoint)
        questions = read_questions(arguments.questions)
        shares = await recall(store, embedder, questions, arguments.limit)
        return json.dumps({"questions": len(questions), "limit": arguments.limit} | asdict(shares))

    sys.stdout.write(asyncio.run(measured()) + "\n")


BUILD = Command("Build a store from documents, or continue an interrupted build.", _add_build, _build)
IMPORT_FAISS = Command(
    "Build a store from the texts of a LangChain FAISS folder. The checkpoint embeds them again, because the vectors\n"
    "in the folder come from another model. The pickle is read as data: no code in it can run. Dates and other values\n"
    "in the metadata are skipped, and everything except LangChain's records and such values is refused.",
    _add_import_faiss,
    _import_faiss,
)
RECALL = Command(None, _add_recall, _recall)
