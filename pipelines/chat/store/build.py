"""Build a store: cut documents into chunks, embed each distinct text once, and write all in one step.

Embedding takes most of the time, so vectors are appended to a file beside the store as they are computed. After a kill,
a new build with the same documents and checkpoint continues with the vectors in that file.
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
"""Chunks that are embedded together, and the most that are embedded again after a kill."""
UNFINISHED = ".unfinished"


class Encodes(Protocol):
    """Embeds chunks and questions. `checkpoint` is the digest of the checkpoint that it uses."""

    checkpoint: str

    def embed(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Return (texts, dimension) of unit length. `role` is "document" for chunks and "query" for questions."""


def build(
    documents: Iterable[Document], folder: Path, embedder: Encodes, *, max_characters: int = MAX_CHARACTERS
) -> int:
    """Make `folder` the store of the documents, and return its number of chunks.

    Does nothing where the folder already holds this store undamaged. Readers see the complete old store or the complete
    new one. A second build of the same folder waits. Raises DocumentUnreadable where the documents contain no text, and
    what `documents` and the embedder raise.
    """
    chunks = _distinct_chunks(documents, max_characters)
    if not chunks:
        raise DocumentUnreadable(str(folder), "the documents contain no text")
    header = StoreHeader(embedder.checkpoint, _digest(chunks))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if _holds(folder, header):
            logger.info("%s holds these %d chunks already", folder, len(chunks))
            shutil.rmtree(
                folder / UNFINISHED, ignore_errors=True
            )  # left by a build that was killed after the store was written
            return len(chunks)
        vectors = _embed(folder / UNFINISHED / f"{header.checkpoint}-{header.chunks}", chunks, embedder)
        write_store(folder / STORE, header, StoreContent.of(chunks, vectors))
        shutil.rmtree(folder / UNFINISHED)
    return len(chunks)


def wants_build(
    documents: Iterable[Document], folder: Path, checkpoint: str, *, max_characters: int = MAX_CHARACTERS
) -> bool:
    """Whether a store of the documents should be built in `folder` with the checkpoint of this digest.

    True where `folder` holds no store, or a store of the same documents that is damaged or comes from another
    checkpoint. False where the store is up to date, or holds other documents, which a build would replace. Raises
    StoreCorrupt where the header of the file there is unreadable, OSError where the file can't be read.
    """
    wanted = StoreHeader(checkpoint, _digest(_distinct_chunks(documents, max_characters)))
    try:
        existing = read_header(folder / STORE)
    except StoreNotFound:
        return True
    return existing.chunks == wanted.chunks and not _holds(folder, wanted)


def _distinct_chunks(documents: Iterable[Document], max_characters: int) -> list[Chunk]:
    """The chunks of the documents; of chunks with the same text only the first."""
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
    """(chunks, dimension): the vectors that `file` already holds, then the others, which are appended to it."""
    if not file.exists():
        shutil.rmtree(file.parent, ignore_errors=True)  # vectors of other documents or another checkpoint
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
            os.fsync(vectors.fileno())  # otherwise a crash could leave a file of this size without the data
            progress.update(len(portion))
    return np.fromfile(file, dtype=np.float32).reshape(len(chunks), -1)
