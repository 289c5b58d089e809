"""Read the documents of a LangChain FAISS folder (`index.faiss`, `index.pkl`).

The vectors are not used: another model made them, usually one of OpenAI's, and queries here are embedded by the
checkpoint that is served. The texts are embedded again, which is also cheaper than finding out whether the vectors fit.
Only the header of `index.faiss` is read, to check that the two files belong together.
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
"""The first fields of every FAISS index file (`faiss/impl/index_write.cpp`): kind, dimension, number of vectors."""


def read_faiss(folder: Path) -> list[Document]:
    """Read a document from each record, in the order of the vectors.

    A document is named after its source and row, counted from 1: `notes.txt#3`. Raises StoreCorrupt where a file is
    missing or cut, or the two do not belong together; StoreUnsafe where the pickle contains anything except LangChain's
    records of plain data.
    """
    path = folder / RECORDS
    documents = list(_documents(path, read_records(path)))
    dimension, count = _header(folder / VECTORS)
    if count != len(documents):
        why = f"it holds {count} vectors of {dimension} numbers, but {RECORDS} holds {len(documents)} records"
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
            if not isinstance(key, str):  # a hostile tuple could take for ever to hash below
                raise TypeError("an id is not a string")
            fields = _fields(by_id[key], DOCUMENT)
            text = fields["page_content"]
            if not isinstance(text, str):
                raise TypeError("a text is not a string")
            name = f"{_source(fields.get('metadata'), path.parent.name)}#{row}"
            if not (is_unicode(name) and is_unicode(text)):
                raise ValueError("half of a surrogate pair")
            yield Document(name, text)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StoreCorrupt(str(path), "not what LangChain's FAISS.save_local writes") from error


def _fields(record: Any, name: str) -> dict[str, Any]:
    """The fields of the object. pydantic keeps them under the key `__dict__` of the pickled state."""
    if not isinstance(record, Record) or record.kind.name != name:
        raise TypeError(f"not a {name}")
    fields = record.state.get("__dict__", record.state)
    if not isinstance(fields, dict):
        raise TypeError(f"a {name} without fields")
    return fields


def _source(metadata: Any, default: str) -> str:
    """The file name of the source, without folders, which describe only the machine that made the store."""
    source = metadata.get("source") if isinstance(metadata, dict) else None
    if not isinstance(source, str):
        return default
    return PureWindowsPath(source).name or default  # splits at both kinds of slashes
