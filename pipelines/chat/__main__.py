"""The command line: `python -m pipelines.chat build DOCS STORE`, `import-faiss FOLDER STORE`, `recall STORE FILE`."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pipelines.chat.embedding import Embedder
from pipelines.chat.recall import read_questions, recall
from pipelines.chat.store.build import build
from pipelines.chat.store.chunks import MAX_CHARACTERS
from pipelines.chat.store.documents import READERS, Document, read_documents
from pipelines.chat.store.langchain import read_faiss
from pipelines.chat.store.store import Store
from pipelines.checkpoints.resolve import resolve
from pipelines.errors import CheckpointError, StoreError, StoreMismatch


def main() -> int:
    """Run one command; 1 where something is refused, with the reason on standard error."""
    arguments = _parser().parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        arguments.run(arguments)
    except (CheckpointError, StoreError, OSError) as error:  # the last where the store can't be written
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.chat", description=__doc__)
    commands = parser.add_subparsers(required=True)
    builder = commands.add_parser("build", help="make a store of documents, or go on where a killed build stopped")
    kinds = ", ".join(suffix[1:] for suffix in READERS)
    builder.add_argument(
        "documents", type=Path, help=f"file or folder; {kinds} (the last two with text and, if wanted, name)"
    )
    _add_building(builder)
    builder.set_defaults(run=_build)
    importer = commands.add_parser(
        "import-faiss",
        help="make a store of a LangChain FAISS folder",
        description="The texts are embedded anew by the checkpoint: the folder's vectors are of another model's space. "
        "index.pkl is read as data; nothing in it can run, and what is more than LangChain's records is refused.",
    )
    importer.add_argument("folder", type=Path, help="with index.faiss and index.pkl")
    _add_building(importer)
    importer.set_defaults(run=_import_faiss)
    measure = commands.add_parser("recall", help="how often a search finds the passage that holds the answer")
    measure.add_argument("store", type=Path)
    measure.add_argument("questions", type=Path, help='JSON Lines: {"question", "document", "fact"}')
    measure.add_argument("--limit", type=_count, default=5, help="passages per question")
    _add_checkpoint(measure)
    measure.set_defaults(run=_recall)
    return parser


def _add_building(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="folder to write; an older store in it is replaced in one step")
    parser.add_argument("--max-characters", type=_count, default=MAX_CHARACTERS, help="of a chunk (%(default)s)")
    _add_checkpoint(parser)


def _count(argument: str) -> int:
    count = int(argument)
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", default="checkpoints/sts", help="that embeds; the one that is served (%(default)s)"
    )


def _build(arguments: argparse.Namespace) -> None:
    _build_of(read_documents(arguments.documents), arguments)


def _import_faiss(arguments: argparse.Namespace) -> None:
    _build_of(read_faiss(arguments.folder), arguments)


def _build_of(documents: Iterable[Document], arguments: argparse.Namespace) -> None:
    embedder = Embedder.load(resolve(arguments.checkpoint, "sts"))
    count = build(documents, arguments.store, embedder, max_characters=arguments.max_characters)
    sys.stdout.write(f"{arguments.store}: {count} chunks\n")


def _recall(arguments: argparse.Namespace) -> None:
    embedder = Embedder.load(resolve(arguments.checkpoint, "sts"))

    async def measured() -> str:
        store = await Store.open(arguments.store)
        if store.checkpoint != embedder.checkpoint:
            raise StoreMismatch(store.name, store.checkpoint, embedder.checkpoint)
        questions = read_questions(arguments.questions)
        shares = await recall(store, embedder, questions, arguments.limit)
        return json.dumps({"questions": len(questions), "limit": arguments.limit} | asdict(shares))

    sys.stdout.write(asyncio.run(measured()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
