"""`store.safetensors`, the one file of a store: a rebuilt store takes the place of the old one by a single rename.

safetensors holds plain arrays, and reading it runs no code. The file is read into memory and not mapped: if a mapped
file is cut while its store is open, the process is killed.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipelines.chat.store.chunks import Chunk
from pipelines.chat.store.lexical import LexicalIndex
from pipelines.errors import StoreCorrupt, StoreNotFound
from pipelines.text.normalization import is_unicode

STORE = "store.safetensors"
FORMAT = "munjang-store-1"


@dataclass(frozen=True, slots=True)
class StoreHeader:
    """What a store was built from: digests of the embedding checkpoint and of the chunks."""

    checkpoint: str
    chunks: str


@dataclass(frozen=True, slots=True, eq=False)
class StoreContent:
    """The arrays of a store; a row is a chunk.

    vectors      (rows, dimension) float32, of unit length
    grams, starts, postings, weights: the arrays of the `LexicalIndex`
    texts        (bytes,) uint8, the chunks' texts in UTF-8, one after the other
    text_starts  (rows + 1,) int64, offsets of the texts in `texts`
    spans        (rows, 2) int32, [start, end) of the chunk in its document, in code points
    documents    (rows,) int32, positions in `names`
    names        (bytes,) uint8, the documents' names as a JSON array
    """

    vectors: NDArray[np.float32]
    grams: NDArray[np.uint64]
    starts: NDArray[np.int64]
    postings: NDArray[np.int32]
    weights: NDArray[np.float16]
    texts: NDArray[np.uint8]
    text_starts: NDArray[np.int64]
    spans: NDArray[np.int32]
    documents: NDArray[np.int32]
    names: NDArray[np.uint8]

    @classmethod
    def of(cls, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> Self:
        """Make the arrays from chunks and their embeddings, in the same order."""
        lexical = LexicalIndex.of([chunk.text for chunk in chunks])
        texts = [chunk.text.encode() for chunk in chunks]
        names = {name: number for number, name in enumerate(dict.fromkeys(chunk.document for chunk in chunks))}
        return cls(
            vectors=vectors,
            grams=lexical.grams,
            starts=lexical.starts,
            postings=lexical.rows,
            weights=lexical.weights,
            texts=np.frombuffer(b"".join(texts), dtype=np.uint8),
            text_starts=np.cumsum([0, *map(len, texts)], dtype=np.int64),
            spans=np.array([(chunk.start, chunk.end) for chunk in chunks], dtype=np.int32).reshape(-1, 2),
            documents=np.array([names[chunk.document] for chunk in chunks], dtype=np.int32),
            names=np.frombuffer(json.dumps(list(names)).encode(), dtype=np.uint8),
        )

    @property
    def document_names(self) -> list[str]:
        """The names of the documents, in the order that `documents` refers to."""
        names: list[str] = json.loads(self.names.tobytes())
        return names

    @property
    def lexical(self) -> LexicalIndex:
        """The index of the chunks' words."""
        return LexicalIndex(self.grams, self.starts, self.postings, self.weights)


_KINDS = {
    "vectors": ("F32", 2),
    "grams": ("U64", 1),
    "starts": ("I64", 1),
    "postings": ("I32", 1),
    "weights": ("F16", 1),
    "texts": ("U8", 1),
    "text_starts": ("I64", 1),
    "spans": ("I32", 2),
    "documents": ("I32", 1),
    "names": ("U8", 1),
}
"""Type and number of axes of each array; types have safetensors' names."""


def write_store(path: Path, header: StoreHeader, content: StoreContent) -> None:
    """Write the file completely or not at all: beside `path`, then renamed. Raises OSError where that fails."""
    arrays = _arrays(content)
    metadata = {"format": FORMAT, **asdict(header), "sha256": sha256(header, arrays)}
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch()
    mode = partial.stat().st_mode  # as the umask allows; safetensors would let only the owner read the file
    try:
        save_file(arrays, partial, metadata)
        partial.chmod(mode)
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # otherwise the rename could reach the disk before the data
        partial.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> StoreHeader:
    """Read what the store was built from, but not its arrays. Raises the errors of `read_store`."""
    with _opened(path) as file:
        return _header(path, file.metadata() or {})


def read_store(path: Path) -> tuple[StoreHeader, StoreContent]:
    """Read a store and check it.

    Raises StoreNotFound where there is no file, StoreCorrupt where it is cut or altered, and OSError where it can't be
    read.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        header = _header(path, metadata)
        if {name: _kind(file, name) for name in file.keys()} != _KINDS:  # noqa: SIM118  `file` is no mapping
            raise StoreCorrupt(_where(path), "its arrays do not fit each other")
        arrays: dict[str, NDArray[Any]] = file.get_tensors()
    if metadata.get("sha256") != sha256(header, arrays):
        raise StoreCorrupt(_where(path), "it was altered after it was built")
    if not _fit(arrays):
        raise StoreCorrupt(_where(path), "its arrays do not fit each other")
    return header, StoreContent(**arrays)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the file and read only its header. Raises the errors of `read_store`."""
    try:
        with safe_open(path, framework="np", backend="pread") as file:
            yield file
    except FileNotFoundError as error:
        raise StoreNotFound from error
    except (OSError, StoreCorrupt):
        raise
    except Exception as error:  # SafetensorError, and others of numpy and the binding for unknown types and names
        raise StoreCorrupt(_where(path), "not a complete safetensors file") from error


def _kind(file: Any, name: str) -> tuple[str, int]:
    array = file.get_slice(name)
    return array.get_dtype(), len(array.get_shape())


def _header(path: Path, metadata: Mapping[str, str]) -> StoreHeader:
    if metadata.get("format") != FORMAT:
        raise StoreCorrupt(_where(path), f"not in the format {FORMAT}; build the store again")
    return StoreHeader(metadata.get("checkpoint", ""), metadata.get("chunks", ""))


def _where(path: Path) -> str:
    """The file's place in error messages. Clients may see them, so the machine's folders are left out."""
    return f"{path.parent.name}/{path.name}"


def _arrays(content: StoreContent) -> dict[str, NDArray[Any]]:
    return {field.name: np.ascontiguousarray(getattr(content, field.name)) for field in fields(content)}


def sha256(header: StoreHeader, arrays: Mapping[str, NDArray[Any]]) -> str:
    """The hash of the header and all arrays, in hex."""
    digest = hashlib.sha256(repr(header).encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def _fit(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether sizes fit, positions lie within the arrays they refer to, numbers are finite, and texts are UTF-8."""
    content = StoreContent(**arrays)
    rows = len(content.vectors)
    sizes_fit = (
        len(content.starts) == len(content.grams) + 1
        and len(content.postings) == len(content.weights)
        and len(content.text_starts) == rows + 1
        and content.spans.shape == (rows, 2)
        and len(content.documents) == rows
    )
    return (
        sizes_fit
        and _cover(content.starts, len(content.postings))
        and _cover(content.text_starts, len(content.texts))
        and _within(content.postings, rows)
        and _within(content.documents, _count_names(content))
        and bool(np.all(content.spans[:, 0] >= 0) and np.all(content.spans[:, 0] <= content.spans[:, 1]))
        and bool(np.isfinite(content.vectors).all() and np.isfinite(content.weights).all())
        and _decodes(content)
    )


def _count_names(content: StoreContent) -> int:
    """The number of documents' names; 0 where `names` is not a JSON array of strings."""
    try:
        names = content.document_names
    except (ValueError, RecursionError):
        return 0
    strings = isinstance(names, list) and all(isinstance(name, str) and is_unicode(name) for name in names)
    return len(names) if strings else 0


def _decodes(content: StoreContent) -> bool:
    """Whether every text is UTF-8: all bytes together decode, and no text begins within a character."""
    try:
        content.texts.tobytes().decode()
    except UnicodeDecodeError:
        return False
    starts = content.text_starts[content.text_starts < len(content.texts)]
    return bool(np.all(content.texts[starts] & 0xC0 != 0x80))  # 0x80 marks a byte within a character


def _cover(starts: NDArray[np.int64], count: int) -> bool:
    """Whether `starts` divides `count` items into consecutive ranges."""
    return bool(starts[0] == 0 and starts[-1] == count and np.all(np.diff(starts) >= 0))


def _within(numbers: NDArray[np.int32], count: int) -> bool:
    return bool(numbers.min(initial=0) >= 0 and numbers.max(initial=-1) < count)
