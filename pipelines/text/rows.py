"""Read the rows of a task from a file or a named data set, using the columns that the user names."""

import csv
import io
import json
import lzma
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.errors import BadRow, DataNotFound
from pipelines.text.files import read_text

Row = TypeVar("Row")
FORMATS = (".csv", ".tsv", ".jsonl", ".json")
SOURCE = (
    "a .csv, .tsv, .jsonl or .json file, which may be packed as .xz, or a data set as NAME[:CONFIGURATION[:SPLIT]]; "
    "append [:500], [-500:] or [::10] to use only the first 500 rows, the last 500 rows or every tenth row"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it was read: its place, for messages, and its cells by column name."""

    where: str
    cells: Mapping[str, Any]


def read_rows(source: str, columns: Sequence[str], make: Callable[..., Row], split: str = "train") -> list[Row]:
    """Call `make` on the cells of `columns` of every row and return the results.

    `source` is a file or the name of a data set:
    - a `.csv`, `.tsv` (no quoting), `.jsonl` or `.json` file (a list of objects), possibly compressed as `.xz`;
    - `name[:configuration[:split]]`, which the `datasets` library loads.
    `source[start:stop:step]` reads only those rows.

    A column is a name in the header or a key; `outer.inner` is a key of a nested object. If all columns are numbers,
    the file has no header and the columns are counted from 1. `one|other` is the first of the two that a row has.

    Raises DataNotFound, and BadRow, which names the line, if a cell is missing or `make` raises ValueError.
    """
    whole, part = part_of(source)
    headless = all(column.isdecimal() for column in columns)
    records = read_file(Path(whole), headless=headless) if is_file(whole) else read_data_set(whole, split)
    rows = [_make(record, columns, make) for record in records][part]
    if not rows:
        raise DataNotFound(source, "holds no rows")
    return rows


def part_of(source: str) -> tuple[str, slice]:
    """Split a source from the `[start:stop]` or `[start:stop:step]` at its end, which becomes a slice."""
    named = _PART.fullmatch(source)
    whole, *bounds = named.groups() if named else (source,)
    return whole, slice(*(int(bound) if bound else None for bound in bounds or [None]))


def is_file(source: str) -> bool:
    """Whether `source` is a file or has the name of one."""
    return Path(source).is_file() or Path(source.removesuffix(".xz")).suffix in FORMATS


def read_file(path: Path, *, headless: bool) -> Iterator[Record]:
    """The records of a file. If it is headless, the columns are "1", "2", ..."""
    with refusing_no_text(path):
        text = read_text(path)
    match Path(str(path).removesuffix(".xz")).suffix:
        case ".csv":
            yield from _by_header(path, _csv_lines(path, text), headless)
        case ".tsv":
            yield from _by_header(path, ((number, line.split("\t")) for number, line in _lines(text)), headless)
        case ".jsonl":
            yield from (Record(_at(path, number), _json(path, number, line)) for number, line in _lines(text))
        case ".json":
            yield from (Record(_at(path, number), row) for number, row in _json_list(path, text))
        case ending:
            raise DataNotFound(str(path), f"ends in {ending or 'nothing'}, not in one of {', '.join(FORMATS)}")


@contextmanager
def refusing_no_text(path: Path) -> Iterator[None]:
    """Turn the errors of `read_text` into DataNotFound or BadRow."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataNotFound(str(path), "there is no such file") from error
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise BadRow(str(path), f"can't be read as UTF-8 text ({type(error).__name__})") from error


def read_data_set(name: str, split: str) -> Iterator[Record]:
    """The records of a data set on the Hub or in a folder; `split` is used if the name does not contain one."""
    from datasets import load_dataset  # takes seconds to import

    source, configuration, own_split = (*name.split(":"), "", "")[:3]
    try:
        rows = load_dataset(source, configuration or None, split=own_split or split)
    except Exception as error:  # the library's own errors and those of its HTTP and file libraries
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataNotFound(name, f"is not a file, and the datasets library can't read it: {reason[0]}") from error
    yield from (Record(f"{name}, row {number}", row) for number, row in enumerate(rows))


def _make(record: Record, columns: Sequence[str], make: Callable[..., Row]) -> Row:
    cells = [_cell(record, column) for column in columns]
    try:
        return make(*cells)
    except ValueError as error:
        raise BadRow(record.where, str(error)) from error


def _cell(record: Record, column: str) -> Any:
    for name in column.split("|"):
        outer, _, inner = name.partition(".")
        nested = record.cells.get(outer)
        cell = nested.get(inner) if isinstance(nested, Mapping) and inner else record.cells.get(name)
        if cell is not None:
            return cell
    known = ", ".join(str(name) for name in record.cells)
    raise BadRow(record.where, f"has no column {column}; it has {known or 'none'}")


def _by_header(path: Path, lines: Iterator[tuple[int, list[str]]], headless: bool) -> Iterator[Record]:
    header: list[str] | None = None
    for number, cells in lines:
        if header is None and not headless:
            header = cells
            continue
        names = header or [str(place) for place in range(1, len(cells) + 1)]
        if len(cells) > len(names):
            raise BadRow(_at(path, number), f"has {len(cells)} cells, but its header has {len(names)}")
        yield Record(_at(path, number), dict(zip(names, cells, strict=False)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1; a line ends with a line feed or a carriage return and a line feed."""
    lines = enumerate(text.split("\n"), start=1)
    return ((number, line.removesuffix("\r")) for number, line in lines if line.strip())


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Records that are not empty, each with the number of its first line: a quoted cell may span several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = 1
    try:
        for cells in reader:
            if cells:
                yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        raise BadRow(_at(path, first), str(error)) from error


def _json(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise BadRow(_at(path, number), f"not JSON: {error}") from error
    return _object(path, number, value)


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a JSON list, each with the number of the line on which it begins."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRow(_at(path, error.lineno), f"not JSON: {error.msg}") from error
    if not isinstance(values, list):
        raise BadRow(str(path), "not a JSON list")
    number, end = 1, 0
    for value in values:
        begin = _BEFORE.match(text, end).end()  # type: ignore[union-attr]  # also matches the empty string
        number += text.count("\n", end, begin)
        yield number, _object(path, number, value)
        _, after = _DECODER.raw_decode(text, begin)
        number, end = number + text.count("\n", begin, after), after


def _object(path: Path, number: int, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRow(_at(path, number), "not a JSON object")
    return value


def _at(path: Path, number: int) -> str:
    return f"{path}, line {number}"


_PART = re.compile(r"(.+)\[(-?\d*):(-?\d*)(?::([1-9]\d*)?)?\]")
_BEFORE = re.compile(r"[\s\[,]*")  # the characters before a value of a list
_DECODER = json.JSONDecoder()
