"""The texts that a trimmed checkpoint must answer as before, read from files."""

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
    """A text, and where it stands: file and line, for messages that must not repeat the text."""

    where: str
    text: str


def read_texts(paths: Sequence[Path]) -> list[Text]:
    """Every different text of the files: lines of `.txt` and `.md`, all cells or strings of the other formats.

    `.csv`, `.tsv`, `.jsonl` and `.json` are read, `.xz` is unpacked. A text that is not in Unicode's NFC counts in both
    forms, since one is served and the other trained on. Blank texts and those that UTF-8 can't say are left out.
    Raises DataNotFound and BadRow.
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
    """Of a `.json` file: a list of objects has lines, in anything else (SQuAD's form is one) strings are counted."""
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
    """All strings in a value as JSON has them; keys are none of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
