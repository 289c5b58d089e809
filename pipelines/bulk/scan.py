"""Read an input once, and cut it into parts that are scored apart from each other."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pyarrow import fs

from pipelines.bulk.parquet import checksum_of_footer, opened_parquet
from pipelines.bulk.records import Csv, JsonLines, Record, csv_cells, lines_of
from pipelines.bulk.source import FORMATS, Format, Part, Source, format_of
from pipelines.bulk.storage import Location
from pipelines.errors import BadRow, DataNotFound, MalformedInput
from pipelines.text.strict_json import BOM


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an input by name, sorted, and their sizes in bytes; the name is empty if the input is one file."""

    location: Location
    sizes: dict[str, int]
    format: Format

    @property
    def total(self) -> int:
        """The size of all files in bytes."""
        return sum(self.sizes.values())

    @classmethod
    def of(cls, location: Location) -> "Files":
        """The files of an input. Names in a folder that begin with "_" or "." are left out, as other readers do.

        Raises DataNotFound if there is nothing, or if the files are not all in one of the formats.
        """
        info = location.info()
        if info.type == fs.FileType.File:
            return cls(location, {"": info.size}, _one_format(location, [location.path]))
        names = [name for name in location.names() if name[0] not in "_."]
        if not names:
            raise DataNotFound(location.name, "there is no such file, or a folder without files")
        return cls(location, {name: (location / name).info().size for name in names}, _one_format(location, names))


def _one_format(location: Location, names: Iterable[str]) -> Format:
    formats = {format_of(name) for name in names}
    (found, *others) = formats
    if found is None or others:
        raise DataNotFound(location.name, f"must end in one of {', '.join(FORMATS)}; a folder has files of one format")
    return found


def file_of(location: Location, name: str) -> Location:
    """A file of an input by its name in `Files` or in a part."""
    return location / name if name else location


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A file's columns, if its format has any, their types for people, and its parts."""

    columns: tuple[str, ...] | None
    types: str
    parts: list[Part]


def scan(files: Files, part_bytes: int) -> Source:
    """Read all files and cut them into parts of at least `part_bytes` bytes, except for the last of each file.

    Raises DataNotFound if there are no rows or files have different columns, and BadRow for a bad header.
    """
    found: list[_Scanned] = []
    for name in files.sizes:
        file = file_of(files.location, name)
        found.append(_SCANS[files.format](file, name, part_bytes))
        if (found[-1].columns, found[-1].types) != (found[0].columns, found[0].types):
            raise DataNotFound(file.name, f"its columns are not those of {next(iter(files.sizes))}")
    parts = tuple(part for scanned in found for part in scanned.parts)
    if not parts:
        raise DataNotFound(files.location.name, "holds no rows")
    return Source(format=files.format, columns=found[0].columns, parts=parts)


def _scan_json(file: Location, name: str, part_bytes: int) -> _Scanned:
    lines = lines_of(file.blocks())
    first = next(lines, b"")
    text = first.removeprefix(BOM)
    records = JsonLines().records(_put_back(text, lines))
    return _Scanned(None, "", list(_cut(records, name, part_bytes, start=len(first) - len(text), line=1)))


def _scan_csv(file: Location, name: str, part_bytes: int) -> _Scanned:
    lines = lines_of(file.blocks())
    start, number, header = 0, 0, b""
    for header in lines:
        start, number = start + len(header), number + 1
        if header.removeprefix(BOM).strip():
            break
    columns = _header(header.removeprefix(BOM), f"{file.name}, line {number}")
    parts = _cut(Csv(columns).records(lines), name, part_bytes, start=start, line=number + 1)
    return _Scanned(columns, "", list(parts))


def _header(line: bytes, where: str) -> tuple[str, ...]:
    if not line.strip():
        raise BadRow(where, "there is no header with the names of the columns")
    try:
        columns = tuple(cell.strip() for cell in csv_cells(line))
    except MalformedInput as error:
        raise BadRow(where, f"is no header: {error}") from error
    if len(set(columns)) < len(columns):
        raise BadRow(where, "the header has the same name twice")
    return columns


def _put_back(line: bytes, lines: Iterator[bytes]) -> Iterator[bytes]:
    if line:
        yield line
    yield from lines


def _cut(records: Iterable[Record], name: str, part_bytes: int, *, start: int, line: int) -> Iterator[Part]:
    """Cut the records of a file, the first of which begins at byte `start` and line `line`."""
    for piece in _pieces(records, part_bytes):
        content = b"".join([record.content for record in piece])
        rows = sum([not record.blank for record in piece])
        end, checksum = start + len(content), zlib.crc32(content)
        if rows:
            yield Part(file=name, start=start, end=end, line=line, rows=rows, checksum=checksum)
        start, line = end, line + sum([record.lines for record in piece])


def _pieces(records: Iterable[Record], part_bytes: int) -> Iterator[list[Record]]:
    """Lists of records that reach `part_bytes` bytes each; the last may be smaller."""
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record.content)
        if size >= part_bytes:
            yield piece
            piece, size = [], 0
    yield piece


def _scan_parquet(file: Location, name: str, part_bytes: int) -> _Scanned:
    with opened_parquet(file) as opened:
        schema, footer = opened.schema_arrow, opened.metadata
    checksum = checksum_of_footer(file)
    size = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    step = max(1, footer.num_rows * part_bytes // max(1, size))
    ranges = [(start, min(start + step, footer.num_rows)) for start in range(0, footer.num_rows, step)]
    parts = [
        Part(file=name, start=start, end=end, line=start + 1, rows=end - start, checksum=checksum)
        for start, end in ranges
    ]
    return _Scanned(tuple(schema.names), str(schema.types), parts)


_SCANS: dict[Format, Callable[[Location, str, int], _Scanned]] = {
    "jsonl": _scan_json,
    "csv": _scan_csv,
    "parquet": _scan_parquet,
}
