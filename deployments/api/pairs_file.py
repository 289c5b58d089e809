"""Read the pairs of an uploaded file: JSON, JSON Lines, or CSV with a header line. The content decides which it is.

JSON is tried first and is read in one go, because a large file of the original clients is JSON.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from deployments.api.limits import refuse_long
from deployments.api.problems import pointer
from deployments.api.schemas import FilePair, PairsFile
from deployments.api.unreadable import WANTED, json_fault, refuse_unreadable
from deployments.settings import StsSettings
from pipelines.errors import FieldFault, InvalidInput, MalformedInput, TooLarge
from pipelines.text.strict_json import BOM, read_json

COLUMNS = ("sentence1", "sentence2")
LONGEST_CELL = 2**31 - 1
"""Longest cell of a CSV file, in characters; the csv module refuses more than 131,072 by default."""
_TEXT_LINE = re.compile(rb"[^\s][^\n]*")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, not validated yet: `{"results": [rows]}` and, unless it is JSON, the line of each row."""

    content: Any
    lines: Sequence[int] = ()

    def where(self, row: int) -> str:
        """The row's place in words, for messages; empty where its pointer is its place."""
        return f"line {self.lines[row]}" if self.lines else ""


def read_pairs(content: bytes, settings: StsSettings) -> list[tuple[str, str]]:
    """Read the pairs of an uploaded file.

    Raises MalformedInput if the file has none of the formats, TooLarge if there are too many pairs (before any of them
    is checked) or a sentence is too long, and InvalidInput with pointers into the first invalid row.
    """
    document = read_document(content, settings.max_pairs)
    rows = document.content.get("results") if isinstance(document.content, dict) else None
    if isinstance(rows, list) and len(rows) > settings.max_pairs:
        raise TooLarge("the file", settings.max_pairs, "pairs")
    try:
        pairs = PairsFile.model_validate(document.content).results
    except ValidationError as error:
        raise _refusal(error, document) from None
    _refuse_long(pairs, document, settings.max_characters)
    return [(pair["sentence1"], pair["sentence2"]) for pair in pairs]


def read_document(content: bytes, max_pairs: int) -> Document:
    """Read a file of any of the formats; of more rows than `max_pairs` one more than that is read.

    Raises MalformedInput with the place of the fault, and UnsupportedMedia for a compressed file.
    """
    text = content.removeprefix(BOM)
    try:
        return _of_json(read_json(text))
    except MalformedInput as error:
        refuse_unreadable(text)
        if _is_json_lines(text):
            return _of_rows(_json_lines(text), max_pairs)
        if text.lstrip()[:1] in (b"{", b"["):
            raise MalformedInput(f"the file is not valid JSON: {json_fault(error, text)}") from None
    return _of_rows(_csv_rows(text.decode()), max_pairs)


def _of_json(value: Any) -> Document:
    """The value. A row alone is a JSON Lines file of one line."""
    if isinstance(value, dict) and "results" not in value and all(column in value for column in COLUMNS):
        return Document({"results": [value]}, [1])
    return Document(value)


def _of_rows(rows: Iterable[tuple[int, Any]], max_pairs: int) -> Document:
    read = list(islice(rows, max_pairs + 1))
    return Document({"results": [row for _, row in read]}, [line for line, _ in read])


def _is_json_lines(text: bytes) -> bool:
    """Whether there are several lines that are not blank, and the first is a whole JSON object or list, but no file."""
    lines = [match[0].rstrip().rstrip(b",") for match in islice(_TEXT_LINE.finditer(text), 2)]
    if len(lines) < 2 or (lines[0][:1], lines[0][-1:]) not in ((b"{", b"}"), (b"[", b"]")):
        return False
    try:
        first = read_json(lines[0])
    except MalformedInput:
        return True
    return not (isinstance(first, dict) and "results" in first)


def _json_lines(text: bytes) -> Iterator[tuple[int, Any]]:
    """Each row with its line. Lines end with a line feed only: others may stand in a string of JSON."""
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, read_json(line)
            except MalformedInput as error:
                raise MalformedInput(
                    f"the file is JSON Lines with a fault: {json_fault(error, line, number)}"
                ) from None


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the line on which it begins: a cell in quotation marks may contain line breaks."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if any(len(cells) > 1 or cell.strip() for cell in cells):  # otherwise a blank line
                if header:
                    yield line, _row(header, cells, line)
                else:
                    header = _header(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        if not header:
            _refuse_header(text.lstrip().splitlines()[:1])
        advice = 'write a quotation mark in a cell as "", and close every cell that begins with one'
        raise MalformedInput(f"the file is CSV with a fault in the row on line {line}: {error}; {advice}") from None


def _header(cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if any(names.count(column) != 1 for column in COLUMNS):
        _refuse_header(names)
    return names


def _refuse_header(names: Sequence[str]) -> None:
    """Raise MalformedInput: the first line is no header, or one with another separator or a column twice."""
    if all(column in names for column in COLUMNS):
        raise MalformedInput("line 1 of the CSV file names a column twice; keep one of sentence1 and one of sentence2")
    line = names[0] if len(names) == 1 else ""
    for separator, what in (("\t", "tabs"), (";", "semicolons"), ("|", "vertical bars")):
        if all(column in (cell.strip(' "') for cell in line.split(separator)) for column in COLUMNS):
            raise MalformedInput(f"the columns on line 1 are separated by {what}; save the file as CSV with commas")
    if all(any(_is_alike(name, column) for name in names) for column in COLUMNS):
        why = "names other columns than sentence1 and sentence2; spell them so, in lower case and without an underscore"
        raise MalformedInput(f"line 1 of the CSV file {why}")
    what = "line 1, column 1 begins no JSON, and line 1 has no columns sentence1 and sentence2"
    raise MalformedInput(f"the file is neither JSON, JSON Lines nor CSV: {what}; {WANTED}")


def _is_alike(name: str, column: str) -> bool:
    return "".join(filter(str.isalnum, name.casefold())) == column


def _row(header: Sequence[str], cells: Sequence[str], line: int) -> dict[str, str]:
    if len(cells) != len(header):
        why = f"its row on line {line} has {len(cells)} cells, but the header has {len(header)} columns"
        raise MalformedInput(f"the CSV file is damaged: {why}; put a cell that contains a comma in quotation marks")
    return dict(zip(header, cells, strict=True))


def _refusal(error: ValidationError, document: Document) -> InvalidInput:
    """Convert pydantic's error, without the input that pydantic adds to it."""
    found = error.errors(include_input=False, include_url=False)
    return InvalidInput(*(_fault(fault["loc"], fault["type"], fault["msg"], document) for fault in found))


def _fault(location: Sequence[int | str], code: str, message: str, document: Document) -> FieldFault:
    if not location:
        return FieldFault("", code, 'The file must hold one JSON object, {"results": [...]}')
    row = next((part for part in location if isinstance(part, int)), None)
    where = document.where(row) if row is not None else ""
    return FieldFault(pointer(location), code, f"{where}: {message}" if where else message)


def _refuse_long(pairs: Sequence[FilePair], document: Document, max_characters: int) -> None:
    """Raise TooLarge for the longest sentence, with its line, if it has more than `max_characters`."""
    for field in COLUMNS:
        lengths = [len(pair[field]) for pair in pairs]  # type: ignore[literal-required]
        longest = max(lengths)
        if longest > max_characters:
            row = lengths.index(longest)
            where = document.where(row)
            refuse_long(f"{field} on {where}" if where else field, pairs[row][field], max_characters)  # type: ignore[literal-required]
