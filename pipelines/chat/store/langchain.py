"""Read the documents of a LangChain FAISS folder (`index.faiss`, `index.pkl`, or another name than `index`).

The vectors are not used: another model made them, usually one of OpenAI's, and queries here are embedded by the
checkpoint that is served. The texts are embedded again, which is also cheaper than finding out whether the vectors fit.
Only the header of `index.faiss` is read, to check that the two files belong together.
"""

import shlex
import struct
from collections.abc import Collection, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from pipelines.chat.store.documents import Document
from pipelines.chat.store.pickles import DOCSTORE, DOCUMENT, Record, read_records
from pipelines.errors import StoreCorrupt
from pipelines.format.pickle_machine import Inert
from pipelines.text.normalization import is_unicode

INDEX_NAME = "index"
"""LangChain's default of `index_name` in `FAISS.save_local`."""
VECTORS, RECORDS = ".faiss", ".pkl"
_HEADER = struct.Struct("<4siq")
"""The first fields of every FAISS index file (`faiss/impl/index_write.cpp`): kind, dimension, number of vectors."""


def read_faiss(folder: Path, index_name: str = INDEX_NAME, inert: Collection[str] = ()) -> list[Document]:
    """Read a document from each record, in the order of the vectors. The files are `index_name`.faiss and .pkl.

    A document is named after its source and row, counted from 1: `notes.txt#3`. `inert` names further classes in the
    metadata that only hold data. Raises StoreCorrupt where a file is missing or cut, or the two do not belong together;
    StoreUnsafe where the pickle contains anything except LangChain's records, plain data and inert values.
    """
    path, vectors = folder / f"{index_name}{RECORDS}", folder / f"{index_name}{VECTORS}"
    _refuse_other_names(path, vectors)
    documents = list(_documents(path, read_records(path, inert)))
    dimension, count = _header(vectors)
    if count != len(documents):
        why = f"it holds {count} vectors of {dimension} numbers, but {path.name} holds {len(documents)} records"
        raise StoreCorrupt(str(vectors), why)
    return documents


def _refuse_other_names(path: Path, vectors: Path) -> None:
    """Raise StoreCorrupt, with the option to use, where a file is missing and a pair of another name is there."""
    missing = next((file for file in (path, vectors) if not file.is_file()), None)
    names = sorted(
        file.stem for file in path.parent.glob(f"*{RECORDS}") if file.with_suffix(VECTORS).is_file() and file != path
    )
    if missing is None or not names:
        return
    found = " or ".join(f"--index-name {shlex.quote(name)}" for name in names)
    raise StoreCorrupt(str(missing), f"there is no such file, but a pair of another name in the folder: add {found}")


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
            if not isinstance(key, str | int | Inert):  # a hostile tuple could take for ever to hash below
                raise TypeError("an id is neither text nor a number")
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
    fields = metadata.entries if isinstance(metadata, Inert) else metadata
    source = fields.get("source") if isinstance(fields, dict) else None
    text = source.text if isinstance(source, Inert) else source
    if not isinstance(text, str):
        return default
    return PureWindowsPath(text).name or default  # splits at both kinds of slashes
