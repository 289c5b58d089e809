"""Read the documents of a store from text, Markdown, CSV and JSON Lines files."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import DocumentUnreadable
from pipelines.text.normalization import is_unicode

TEXT, NAME = "text", "name"
"""Columns of a CSV file, or keys of a JSON Lines file; `name` may be missing."""
LONGEST_CELL = 2**31 - 1
"""Longest cell of a CSV file, in characters; the csv module refuses more than 131,072 by default."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text, and its name in citations: the file's path in its folder, for a table with the row's name or number."""

    name: str
    text: str


def read_documents(source: Path) -> Iterator[Document]:
    """Read one file, or all files below a folder with a suffix in `READERS`, in the order of their paths.

    Suffixes are compared without regard to case. Texts are not changed, so offsets count characters of the file, after
    a byte order mark. Raises DocumentUnreadable where a file's name or content is not UTF-8, where a row has no text
    (the error names file and row), and where there is nothing to read.
    """
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    files = [path for path in files if path.suffix.lower() in READERS]
    if not files:
        raise DocumentUnreadable(str(source), f"no such file or folder, or none with {', '.join(READERS)} in it")
    root = source.parent if source.is_file() else source
    for path in files:
        for document in READERS[path.suffix.lower()](path, path.relative_to(root).as_posix()):
            if not (is_unicode(document.name) and is_unicode(document.text)):
                raise DocumentUnreadable(
                    str(path), "a name or text is not Unicode: it contains half of a surrogate pair"
                )
            yield document


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # do not translate line ends
            return file.read()
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(str(path), "not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise DocumentUnreadable(str(path), error.strerror or type(error).__name__) from error


def _whole(path: Path, name: str) -> Iterator[Document]:
    yield Document(name, _text(path))


def _csv(path: Path, name: str) -> Iterator[Document]:
    csv.field_size_limit(LONGEST_CELL)
    try:
        for row, values in enumerate(csv.DictReader(io.StringIO(_text(path), newline=""), strict=True), 1):
            yield _row(path, name, row, values)
    except csv.Error as error:
        raise DocumentUnreadable(str(path), f"not valid CSV: {error}") from error


def _json_lines(path: Path, name: str) -> Iterator[Document]:
    for row, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DocumentUnreadable(str(path), f"row {row} is not JSON") from error
            yield _row(path, name, row, values)


def _row(path: Path, name: str, row: int, values: Any) -> Document:
    text = values.get(TEXT) if isinstance(values, dict) else None
    if not isinstance(text, str):
        raise DocumentUnreadable(str(path), f"row {row} has no {TEXT!r}")
    return Document(f"{name}#{values.get(NAME) or row}", text)


READERS: dict[str, Callable[[Path, str], Iterator[Document]]] = {
    ".txt": _whole,
    ".md": _whole,
    ".csv": _csv,
    ".jsonl": _json_lines,
}
