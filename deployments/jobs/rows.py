"""Read the rows of a job's file: find and check them, and cut them into parts."""

import hashlib
import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deployments.jobs.records import JobFault, Part, Source
from deployments.jobs.storage import Storage
from pipelines.bulk.records import Csv, JsonLines, Record, csv_cells, lines_of
from pipelines.errors import MalformedInput
from pipelines.text.strict_json import BOM, read_json

MOST_FAULTS = 100
MAX_CUSTOM_ID = 512
COLUMNS = {"sentence1", "sentence2"}


class JobRefused(Exception):
    """The file of a job can't be scored. The arguments are its `JobFault`s."""

    def __init__(self, *faults: JobFault) -> None:
        super().__init__(*faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class RowLimits:
    """The most bytes of a line, the most rows of a job, and the most rows of a part."""

    line_bytes: int
    rows: int
    rows_per_part: int


class Tsv:
    """Cells separated by tabs, without quoting; `header` are the names of the columns."""

    def __init__(self, header: Iterable[str]) -> None:
        self._header = list(header)

    def records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """Each line is a record."""
        return JsonLines().records(lines)

    def cells(self, record: Record) -> dict[str, Any]:
        """The cells by name. Raises MalformedInput, whose message repeats nothing of the record."""
        cells = _decoded(record.content).rstrip("\r\n").split("\t")
        if len(cells) != len(self._header):
            raise MalformedInput(f"the row has {len(cells)} cells, but the header has {len(self._header)} columns")
        return dict(zip(self._header, cells, strict=True))


def format_of(source: Source) -> JsonLines | Csv | Tsv:
    """How the rows of a source are split and read."""
    match source.format:
        case "csv":
            return Csv(source.header)
        case "tsv":
            return Tsv(source.header)
    return JsonLines()


@dataclass(slots=True)
class Parts:
    """Cuts rows into parts. A part begins where the one before ends, so blank lines belong to one of them, too."""

    limits: RowLimits
    found: list[Part] = field(default_factory=list)
    rows: int = 0

    def of(self, records: Iterable[Record], start: int, line: int) -> Iterator[tuple[int, Record]]:
        """Yield the rows of a file from the byte `start` and the line `line` on, each with its line, and cut them.

        Raises JobRefused if there are none, or too many.
        """
        place, first_row, first_line = start, 0, line
        for record in records:
            if not record.blank:
                self.rows += 1
                if self.rows > self.limits.rows:
                    raise JobRefused(JobFault("too_many_rows", f"the file has more than {self.limits.rows:,} rows"))
                yield line, record
            place, line = place + len(record.content), line + record.lines
            if self.rows - first_row == self.limits.rows_per_part:
                self._cut(start, place, first_line, first_row)
                start, first_row, first_line = place, self.rows, line
        if self.rows > first_row:
            self._cut(start, place, first_line, first_row)
        if not self.rows:
            raise JobRefused(JobFault("empty_file", "the file has no rows"))

    def _cut(self, start: int, end: int, line: int, first_row: int) -> None:
        self.found.append(Part(len(self.found), start, end, line, first_row, self.rows - first_row))


def rows_of(storage: Storage, source: Source, part: Part) -> list[tuple[int, int, Record]]:
    """The rows of a part: the number of each in the job, from 0, its line, and the row."""
    content, line = storage.read(source.name, part.start, part.end), part.first_line
    rows: list[tuple[int, int, Record]] = []
    for record in format_of(source).records(io.BytesIO(content)):
        if not record.blank:
            rows.append((part.first_row + len(rows), line, record))
        line += record.lines
    return rows


def scan_requests(storage: Storage, name: str, endpoint: str, limits: RowLimits) -> tuple[Source, list[Part]]:
    """The parts of a file with one request on each line. Raises JobRefused with the faults of the first lines.

    Two `custom_id`s count as the same if 64 bits of their keyed hashes are: of a million ids, that refuses one file in
    37 million that has no such fault, and needs 16 bytes of memory for each.
    """
    source = Source("requests", name)
    parts, faults = Parts(limits), list[JobFault]()
    hashes, lines, key = array("Q"), array("Q"), hashlib.blake2b(name.encode(), digest_size=16).digest()
    records = JsonLines().records(lines_of(_bounded(storage.blocks(name), limits.line_bytes)))
    for line, record in parts.of(records, 0, 1):
        try:
            custom_id = request_of(record, endpoint, line)["custom_id"]
            hashes.append(int.from_bytes(hashlib.blake2b(custom_id.encode(), digest_size=8, key=key).digest()))
            lines.append(line)
        except JobRefused as refused:
            faults += refused.faults
            if len(faults) >= MOST_FAULTS:
                break
    faults += _duplicates(np.frombuffer(hashes, np.uint64), np.frombuffer(lines, np.uint64))
    if faults:
        raise JobRefused(*faults[:MOST_FAULTS])
    return source, parts.found


def request_of(record: Record, endpoint: str, line: int) -> dict[str, Any]:
    """The request on a line. Raises JobRefused."""
    try:
        value = read_json(record.content.rstrip())
    except MalformedInput:
        raise JobRefused(JobFault("invalid_json_line", "the line is not valid JSON", line)) from None
    if not isinstance(value, dict):
        raise JobRefused(JobFault("invalid_json_line", "the line is not a JSON object", line))
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID or not _is_unicode(custom_id):
        why = f"custom_id must be a string of 1 to {MAX_CUSTOM_ID} characters"
        raise JobRefused(JobFault("invalid_custom_id", why, line, "custom_id"))
    if value.get("method") != "POST":
        raise JobRefused(JobFault("invalid_method", "method must be POST", line, "method"))
    if not isinstance(value.get("url"), str) or value["url"].rstrip("/") != endpoint.rstrip("/"):
        raise JobRefused(JobFault("mismatched_endpoint", "url must be the endpoint of the batch", line, "url"))
    if not isinstance(value.get("body"), dict):
        raise JobRefused(JobFault("invalid_body", "body must be a JSON object", line, "body"))
    return value


def scan_pairs(storage: Storage, name: str, limits: RowLimits, whole_bytes: int) -> tuple[Source, list[Part]]:
    """The parts of a file of pairs: JSON Lines, CSV, TSV, or the original JSON, which may have `whole_bytes` at most.

    Raises JobRefused. A row without a pair is no reason to: it gets an error of its own.
    """
    head = b"".join(_first_block(storage, name))
    first = next(iter(lines_of([head.removeprefix(BOM)])), b"")
    if first.lstrip()[:1] in (b"{", b"["):
        return _scan_json(storage, name, first, limits, whole_bytes)
    kind, separator = ("tsv", "\t") if b"\t" in first else ("csv", ",")
    header = _header(first, kind, separator)
    source = Source(kind, name, header)  # type: ignore[arg-type]
    start = len(first) + len(BOM) * head.startswith(BOM)
    return source, _cut(storage, source, limits, start, 2)


def _scan_json(
    storage: Storage, name: str, first: bytes, limits: RowLimits, whole_bytes: int
) -> tuple[Source, list[Part]]:
    try:
        row = read_json(first)
        is_lines = isinstance(row, dict) and "results" not in row
    except MalformedInput:
        is_lines = False
    if is_lines:
        source = Source("jsonl", name)
        return source, _cut(storage, source, limits, 0, 1)
    source = Source("jsonl", f"{name}.rows")
    storage.delete(source.name)
    storage.write(source.name, _json_rows(storage, name, whole_bytes))
    return source, _cut(storage, source, limits, 0, 1)


def _json_rows(storage: Storage, name: str, whole_bytes: int) -> bytes:
    """The rows of the original JSON file, one on each line."""
    from json import dumps

    content = b"".join(_at_most(storage.blocks(name), whole_bytes))
    try:
        value = read_json(content)
    except MalformedInput as error:
        raise JobRefused(JobFault("invalid_json", str(error))) from None
    rows = value.get("results") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise JobRefused(JobFault("invalid_json", 'the file must hold one JSON object, {"results": [...]}'))
    return b"".join(dumps(row).encode() + b"\n" for row in rows)


def _cut(storage: Storage, source: Source, limits: RowLimits, start: int, line: int) -> list[Part]:
    parts = Parts(limits)
    blocks = _bounded(storage.blocks(source.name, start), limits.line_bytes)
    for _ in parts.of(format_of(source).records(lines_of(blocks)), start, line):
        pass
    return parts.found


def _header(line: bytes, kind: str, separator: str) -> tuple[str, ...]:
    try:
        cells = csv_cells(line) if kind == "csv" else _decoded(line).rstrip("\r\n").split(separator)
    except (MalformedInput, StopIteration):
        cells = []
    names = tuple(cell.strip() for cell in cells)
    if not set(names) >= COLUMNS or len(set(names)) < len(names):
        why = (
            "line 1 begins no JSON, and does not name the columns sentence1 and sentence2, separated by commas or tabs"
        )
        raise JobRefused(JobFault("invalid_header", why, 1))
    return names


def _duplicates(hashes: Any, lines: Any) -> list[JobFault]:
    order = np.argsort(hashes, kind="stable")
    again = order[1:][hashes[order][1:] == hashes[order][:-1]]
    why = "an earlier line has the same custom_id"
    return [JobFault("duplicate_custom_id", why, int(lines[row]), "custom_id") for row in sorted(again)[:MOST_FAULTS]]


def _bounded(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The blocks. Raises JobRefused if a line goes on for more than about `most` bytes."""
    begun = 0
    for block in blocks:
        end = block.find(b"\n")
        begun += end if end >= 0 else len(block)
        if begun > most:
            raise JobRefused(JobFault("line_too_long", f"a line has more than {most:,} bytes"))
        begun = len(block) - block.rfind(b"\n") - 1 if end >= 0 else begun
        yield block


def _at_most(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    for block in blocks:
        most -= len(block)
        if most < 0:
            raise JobRefused(
                JobFault("file_too_large", "a file that is one JSON document must be smaller; send JSON Lines")
            )
        yield block


def _first_block(storage: Storage, name: str) -> Iterator[bytes]:
    for block in storage.blocks(name):
        yield block
        return


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise MalformedInput(f"the text is not UTF-8, from byte {error.start + 1} on") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
