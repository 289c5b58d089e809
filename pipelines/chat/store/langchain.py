"""A folder of LangChain's FAISS store (`index.faiss`, `index.pkl`) as documents.

Its vectors are not taken over: they lie in the space of whatever model made them, usually OpenAI's, and queries here
are embedded by the checkpoint that is served. So texts are embedded anew, which also costs less than asking whether
vectors fit would. Of `index.faiss` only the header is read, to tell whether the two files belong together.
"""

import struct
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from pipelines.chat.store.documents import Document
from pipelines.chat.store.pickles import DOCSTORE, DOCUMENT, Record, read_records
from pipelines.errors import StoreCorrupt
from pipelines.text.normalization import is_unicode

VECTORS, RECORDS = "index.faiss", "index.pkl"
_HEADER = struct.Struct("<4siq")
"""Every FAISS index file begins so (`faiss/impl/index_write.cpp`): kind, dimension, number of vectors."""


def read_faiss(folder: Path) -> list[Document]:
    """A document for each record, in the order of its vector, named after its source and row: `notes.txt#3`.

    Rows count from 1. Raises StoreCorrupt where a file is missing, cut, or does not fit the other; StoreUnsafe where
    the pickle holds anything but LangChain's records of plain data.
    """
    path = folder / RECORDS
    documents = list(_documents(path, read_records(path)))
    dimension, count = _header(folder / VECTORS)
    if count != len(documents):
        why = f"holds {count} vectors of {dimension} numbers, and {RECORDS} {len(documents)} records"
        raise StoreCorrupt(str(folder / VECTORS), why)
    return documents


def _header(path: Path) -> tuple[int, int]:
    """(dimension, vectors)."""
    try:
        with path.open("rb") as file:
            kind, dimension, count = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error) as error:
        raise StoreCorrupt(str(path), "missing or cut") from error
    if not kind.startswith(b"I") or dimension < 1 or count < 0:
        raise StoreCorrupt(str(path), "not a FAISS index")
    return dimension, count


def _documents(path: Path, content: Any) -> Iterator[Document]:
    try:
        docstore, ids = content
        by_id = _fields(docstore, DOCSTORE)["_dict"]
        for row, (_, key) in enumerate(sorted(ids.items()), 1):
            if not isinstance(key, str):  # not to look for what takes for ever to hash
                raise TypeError("an id that is no text")
            fields = _fields(by_id[key], DOCUMENT)
            text = fields["page_content"]
            if not isinstance(text, str):
                raise TypeError("a text that is none")
            name = f"{_source(fields.get('metadata'), path.parent.name)}#{row}"
            if not (is_unicode(name) and is_unicode(text)):
                raise ValueError("half of a surrogate pair")
            yield Document(name, text)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StoreCorrupt(str(path), "not what LangChain's FAISS.save_local writes") from error


def _fields(record: Any, name: str) -> dict[str, Any]:
    """What the object would have in its `__dict__`: pydantic keeps that under this key of its state."""
    if not isinstance(record, Record) or record.kind.name != name:
        raise TypeError(f"no {name}")
    fields = record.state.get("__dict__", record.state)
    if not isinstance(fields, dict):
        raise TypeError(f"no fields of {name}")
    return fields


def _source(metadata: Any, default: str) -> str:
    """The source's file name: its folders are the business of the machine that it came from."""
    source = metadata.get("source") if isinstance(metadata, dict) else None
    if not isinstance(source, str):
        return default
    return PureWindowsPath(source).name or default  # splits at both kinds of slashes
