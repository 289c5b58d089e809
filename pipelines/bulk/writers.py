"""Write rows as JSON Lines, CSV or Parquet."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import pyarrow
from pyarrow import parquet

from pipelines.bulk.source import Format
from pipelines.text.normalization import is_unicode

Rows = Sequence[Mapping[str, Any]]
Types = Mapping[str, pyarrow.DataType]


class Writer(Protocol):
    """Writes the rows of one file."""

    def fault(self, row: Mapping[str, Any]) -> str | None:
        """Why the format can't hold this row; None if it can."""

    def write(self, rows: Rows) -> None:
        """Write rows, none of which has a `fault`."""

    def close(self) -> None:
        """Write what belongs at the end of the file."""


def writer_of(form: Format, stream: IO[bytes], types: Types) -> Writer:
    """A writer. `types` are all columns in order, with their types; JSON Lines has whatever is in the rows."""
    match form:
        case "jsonl":
            return JsonLinesWriter(stream)
        case "csv":
            return CsvWriter(stream, list(types))
        case "parquet":
            return ParquetWriter(stream, types)


class JsonLinesWriter:
    """One JSON object on each line. What JSON does not have becomes text (dates, decimals) or null (NaN)."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def fault(self, row: Mapping[str, Any]) -> str | None:  # noqa: ARG002  # it can hold every row
        """See `Writer.fault`."""
        return None

    def write(self, rows: Rows) -> None:
        """See `Writer.write`."""
        self._stream.write(b"".join(json_line(row) for row in rows))

    def close(self) -> None:
        """See `Writer.close`."""


class CsvWriter:
    """Comma-separated values as in RFC 4180, with a header. Cells that are no text are written as JSON, null as ""."""

    def __init__(self, stream: IO[bytes], columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns
        self._write([columns])

    def fault(self, row: Mapping[str, Any]) -> str | None:
        """See `Writer.fault`."""
        return _surrogate(row)

    def write(self, rows: Rows) -> None:
        """See `Writer.write`."""
        self._write([[_csv_cell(row.get(column)) for column in self._columns] for row in rows])

    def close(self) -> None:
        """See `Writer.close`."""

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._stream.write(text.getvalue().encode())


class ParquetWriter:
    """A Parquet file. In columns of text, cells that are no text are written as JSON."""

    def __init__(self, stream: IO[bytes], types: Types) -> None:
        self._schema = pyarrow.schema(list(types.items()))
        self._file = parquet.ParquetWriter(stream, self._schema, compression="zstd")

    def fault(self, row: Mapping[str, Any]) -> str | None:
        """See `Writer.fault`."""
        return _surrogate(row)

    def write(self, rows: Rows) -> None:
        """See `Writer.write`."""
        texts = {field.name for field in self._schema if field.type == pyarrow.string()}
        cells = [
            {name: _text(row.get(name)) if name in texts else row.get(name) for name in self._names} for row in rows
        ]
        self._file.write_table(pyarrow.Table.from_pylist(cells, schema=self._schema))

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.close()

    @property
    def _names(self) -> Sequence[str]:
        names: Sequence[str] = self._schema.names
        return names


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON."""
    try:
        return _json(row).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair can only be written as an escape
        return _json(row, ascii_only=True).encode() + b"\n"


def _json(value: Any, *, ascii_only: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ascii_only, default=str)


def _finite(value: Any) -> Any:
    """The value with null in place of numbers that are not finite."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(member) for key, member in value.items()}
        case list():
            return [_finite(member) for member in value]
        case _:
            return value


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _json(value)


def _csv_cell(value: Any) -> str:
    return _text(value) or ""


def _surrogate(row: Mapping[str, Any]) -> str | None:
    odd = next((name for name, cell in row.items() if isinstance(cell, str) and not is_unicode(cell)), None)
    return None if odd is None else f"{odd} contains half of a surrogate pair, which only JSON Lines can hold"
