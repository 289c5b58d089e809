"""Read the rows of one part of an input."""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.bulk.parquet import checksum_of_footer, rows_between
from pipelines.bulk.scan import file_of
from pipelines.bulk.source import Part, Source
from pipelines.bulk.storage import Location
from pipelines.errors import BadRow, MalformedInput


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read: the number of its first line (in Parquet, of the row), and its cells by column."""

    line: int
    cells: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that can't be read or scored: its number as of `Row`, and why. The reason repeats nothing of the row."""

    line: int
    reason: str


def rows_of(location: Location, source: Source, part: Part, columns: Sequence[str] | None) -> Iterator[Row | Fault]:
    """The rows of a part, in order. Of a Parquet file, only `columns` are read; None: all.

    Raises BadRow if the file is not the one that was scanned, or if a Parquet file is damaged.
    """
    file = file_of(location, part.file)
    if source.format == "parquet":
        _refuse_change(file, part, checksum_of_footer(file))
        wanted = source.columns if columns is None else columns
        cells = rows_between(file, part.start, part.end, list(wanted or ()))
        yield from (Row(number, row) for number, row in enumerate(cells, part.line))
        return
    content = file.read_range(part.start, part.end)
    _refuse_change(file, part, zlib.crc32(content))
    yield from _records(source, part, content)


def _records(source: Source, part: Part, content: bytes) -> Iterator[Row | Fault]:
    line, form = part.line, source.text_format
    for record in form.records(io.BytesIO(content)):
        if not record.blank:
            try:
                yield Row(line, form.cells(record))
            except MalformedInput as error:
                yield Fault(line, str(error))
        line += record.lines


def _refuse_change(file: Location, part: Part, checksum: int) -> None:
    if checksum != part.checksum:
        raise BadRow(f"{file.name}, from line {part.line} on", "has changed since the run began")
