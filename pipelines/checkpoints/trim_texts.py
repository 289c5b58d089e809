"""Read the texts for which a trimmed checkpoint must give the same answers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import BadRow, DataNotFound
from pipelines.text.files import read_text
from pipelines.text.normalization import is_unicode, nfc
from pipelines.text.rows import FORMATS, read_file, refusing_no_text

PLAIN = (".txt", ".md")
SUFFIXES = (*PLAIN, *FORMATS)


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its place (file and line), for messages, which must not repeat the text."""

    where: str
    text: str


def read_texts(paths: Sequence[Path]) -> list[Text]:
    """All distinct texts of the files: lines of `.txt` and `.md`, and all cells or strings of the other formats.

    The other formats are `.csv`, `.tsv`, `.jsonl` and `.json`; each file may be compressed as `.xz`. A text that is not
    in NFC is returned both as it is and in NFC, because training uses the first form and serving the second. Blank
    texts and texts that UTF-8 can't encode are left out. Raises DataNotFound and BadRow.
    """
    texts: dict[str, Text] = {}
    for path in paths:
        found = list(_read(path))
        if not found:
            raise DataNotFound(str(path), "holds no text")
        for text in found:
            for form in (text.text, nfc(text.text)):
                texts.setdefault(form, Text(text.where, form))
    return list(texts.values())


def _read(path: Path) -> Iterator[Text]:
    suffix = Path(str(path).removesuffix(".xz")).suffix
    if suffix not in SUFFIXES:
        raise DataNotFound(str(path), f"ends in {suffix or 'nothing'}, not in one of {', '.join(SUFFIXES)}")
    found = _lines(path) if suffix in PLAIN else _document(path) if suffix == ".json" else _records(path)
    return (text for text in found if text.text.strip() and is_unicode(text.text))


def _lines(path: Path) -> Iterator[Text]:
    with refusing_no_text(path):
        lines = read_text(path).split("\n")
    return (Text(f"{path}, line {number}", line.removesuffix("\r")) for number, line in enumerate(lines, start=1))


def _records(path: Path) -> Iterator[Text]:
    return (Text(record.where, cell) for record in read_file(path, headless=True) for cell in _strings(record.cells))


def _document(path: Path) -> Iterator[Text]:
    """The texts of a `.json` file.

    Texts in a list of objects are numbered by line. In any other JSON, such as SQuAD, the strings are counted.
    """
    with refusing_no_text(path):
        text = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRow(f"{path}, line {error.lineno}", f"not JSON: {error.msg}") from error
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return _records(path)
    return (Text(f"{path}, string {number}", string) for number, string in enumerate(_strings(content), start=1))


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value, except keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
