"""Building a store: documents to chunks, each different text once, embedded and written in one step.

Embedding is what takes time, so vectors go to a file beside the store as they are made. A build that was killed goes on
behind the last whole portion of them, as long as documents and checkpoint are the same.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from pipelines.chat.store.chunks import MAX_CHARACTERS, Chunk, chunks_of
from pipelines.chat.store.documents import Document
from pipelines.chat.store.file import STORE, StoreContent, StoreHeader, read_header, read_store, write_store
from pipelines.errors import DocumentUnreadable, StoreError, StoreNotFound
from pipelines.format.manifest import Role

logger = logging.getLogger(__name__)

PORTION = 512
"""Chunks that are embedded together; at most so many are embedded again after a kill."""
UNFINISHED = ".unfinished"


class Encodes(Protocol):
    """What embeds chunks and questions; `checkpoint` is the digest of the checkpoint it does so by."""

    checkpoint: str

    def embed(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """(texts, dimension), of unit length; `role` is "document" for chunks, "query" for questions."""


def build(
    documents: Iterable[Document], folder: Path, embedder: Encodes, *, max_characters: int = MAX_CHARACTERS
) -> int:
    """Make `folder` the store of the documents; returns its number of chunks.

    Nothing is done where it is that already, and whole. Readers see the old store or the new one, never less; a second
    build of the same folder waits. Raises DocumentUnreadable where the documents hold no text, and what `documents`
    and the embedder raise.
    """
    chunks = _distinct_chunks(documents, max_characters)
    if not chunks:
        raise DocumentUnreadable(str(folder), "there is no text to build it of")
    header = StoreHeader(embedder.checkpoint, _digest(chunks))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if _holds(folder, header):
            logger.info("%s holds these %d chunks already", folder, len(chunks))
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)  # of a build that was killed behind its last step
            return len(chunks)
        vectors = _embed(folder / UNFINISHED / f"{header.checkpoint}-{header.chunks}", chunks, embedder)
        write_store(folder / STORE, header, StoreContent.of(chunks, vectors))
        shutil.rmtree(folder / UNFINISHED)
    return len(chunks)


def wants_build(
    documents: Iterable[Document], folder: Path, checkpoint: str, *, max_characters: int = MAX_CHARACTERS
) -> bool:
    """Whether building `folder` of the documents by the checkpoint of this digest would make something and replace
    nothing else: there is no store, or one of the same documents by another checkpoint, or damaged.

    Raises StoreCorrupt where a file there does not say what it was built of, OSError where it can't be read.
    """
    wanted = StoreHeader(checkpoint, _digest(_distinct_chunks(documents, max_characters)))
    try:
        there = read_header(folder / STORE)
    except StoreNotFound:
        return True
    return there.chunks == wanted.chunks and not _holds(folder, wanted)


def _distinct_chunks(documents: Iterable[Document], max_characters: int) -> list[Chunk]:
    """The documents' chunks; of those with the same text the first."""
    distinct: dict[str, Chunk] = {}
    for document in documents:
        for chunk in chunks_of(document, max_characters):
            distinct.setdefault(chunk.text, chunk)
    return list(distinct.values())


def _digest(chunks: Sequence[Chunk]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(repr(astuple(chunk)).encode())
    return digest.hexdigest()[:16]


def _holds(folder: Path, header: StoreHeader) -> bool:
    try:
        return read_store(folder / STORE)[0] == header
    except (StoreError, OSError):
        return False


def _embed(file: Path, chunks: Sequence[Chunk], embedder: Encodes) -> NDArray[np.float32]:
    """(chunks, dimension): from `file` those that are in it already, then the rest, appended to it."""
    if not file.exists():
        shutil.rmtree(file.parent, ignore_errors=True)  # of other documents or another checkpoint
        file.parent.mkdir()
    first = embedder.embed([chunks[0].text], "document")
    row_bytes = first.nbytes
    done = file.stat().st_size // row_bytes if file.exists() else 0
    with file.open("ab") as vectors, tqdm(total=len(chunks), initial=done, unit=" chunks") as progress:
        vectors.truncate(done * row_bytes)
        for begin in range(done, len(chunks), PORTION):
            portion = [chunk.text for chunk in chunks[begin : begin + PORTION]]
            vectors.write(embedder.embed(portion, "document").tobytes())
            vectors.flush()
            os.fsync(vectors.fileno())  # or a crash could leave the file's size without its data
            progress.update(len(portion))
    return np.fromfile(file, dtype=np.float32).reshape(len(chunks), -1)
