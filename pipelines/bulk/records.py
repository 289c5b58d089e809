"""Split the text of JSON Lines and CSV files into records, and records into cells.

A format splits a file in the same way from the start of any record on. So a file can be read in parts that begin and
end between records, and a fault in one record does not reach the next.
"""

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from pipelines.errors import MalformedInput
from pipelines.text.strict_json import read_json

MOST_LINES = 1000
"""Most lines of one CSV record. Without a limit, an opening quotation mark too many would make a record of the rest."""


class Record(NamedTuple):
    """The bytes of a record with its line ends, and the number of its lines. A blank line is a record, too."""

    content: bytes
    lines: int

    @property
    def blank(self) -> bool:
        """Whether it holds nothing but white space."""
        return self.content.isspace()


class TextFormat(Protocol):
    """How a file of text is split."""

    def records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """The records of a file from the start of one of them on. Their contents in a row are those of `lines`."""

    def cells(self, record: Record) -> dict[str, Any]:
        """The cells of a record that is not blank, by name.

        Raises MalformedInput, whose message repeats nothing of the record.
        """


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file that comes in blocks, with their line feeds; the last line may have none."""
    begun: list[bytes] = []  # the pieces of a line whose end is not there yet
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield from io.BytesIO(b"".join([*begun, block[:end]]))
            begun = []
        begun.append(block[end:])
    if any(begun):
        yield b"".join(begun)


class JsonLines:
    """One JSON object on each line. A line ends with a line feed only: others may stand in a string."""

    def records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """See `TextFormat.records`."""
        for line in lines:
            yield Record(line, 1)

    def cells(self, record: Record) -> dict[str, Any]:
        """See `TextFormat.cells`."""
        try:
            value = read_json(record.content.rstrip())
        except MalformedInput as error:
            raise MalformedInput(str(error).replace("line 1, ", "")) from None
        if not isinstance(value, dict):
            raise MalformedInput("the line is not a JSON object")
        return value


class Csv:
    """Comma-separated values as in RFC 4180; `header` are the names of the columns.

    A cell in quotation marks may hold line feeds. A record of several lines counts as one only if it is complete and
    has as many cells as the header; otherwise its first line is a record of its own. So a quotation mark too many
    spoils the row in which it stands, and no other.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self._header = list(header)

    def records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """See `TextFormat.records`."""
        rest, ahead = iter(lines), deque[bytes]()
        while line := _next_line(ahead, rest):
            whole = [line]
            inside = _ends_inside(line, inside=False)
            while inside and len(whole) < MOST_LINES and (line := _next_line(ahead, rest)):
                whole.append(line)
                inside = _ends_inside(line, inside=True)
            record = Record(b"".join(whole), len(whole))
            if record.lines > 1 and not self._is_row(record):
                ahead.extendleft(reversed(whole[1:]))
                record = Record(whole[0], 1)
            yield record

    def cells(self, record: Record) -> dict[str, Any]:
        """See `TextFormat.cells`."""
        cells = csv_cells(record.content)
        if len(cells) != len(self._header):
            raise MalformedInput(f"the row has {len(cells)} cells, but the header has {len(self._header)} columns")
        return dict(zip(self._header, cells, strict=True))

    def _is_row(self, record: Record) -> bool:
        try:
            self.cells(record)
        except MalformedInput:
            return False
        return True


def csv_cells(content: bytes) -> list[str]:
    """The cells of one CSV record. Raises MalformedInput."""
    csv.field_size_limit(2**31 - 1)
    try:
        return next(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise MalformedInput(f"the text is not UTF-8, from byte {error.start + 1} on") from None
    except csv.Error as error:
        raise MalformedInput(f"the row is not valid CSV: {error}") from None


def _next_line(ahead: deque[bytes], rest: Iterator[bytes]) -> bytes:
    """The next line, first of those that were looked at before; empty at the end."""
    return ahead.popleft() if ahead else next(rest, b"")


def _ends_inside(line: bytes, *, inside: bool) -> bool:
    """Whether a cell in quotation marks goes on after `line`; `inside` is whether one was open before it."""
    place = 0
    while True:
        if inside or line.startswith(b'"', place):
            place = _after_cell(line, place if inside else place + 1)
            if place < 0:
                return True
            inside = False
        comma = line.find(b",", place)
        if comma < 0:
            return False
        place = comma + 1


def _after_cell(line: bytes, place: int) -> int:
    """The place after the quotation mark that closes the cell that is open at `place`; -1 if none does."""
    while (mark := line.find(b'"', place)) >= 0:
        if not line.startswith(b'"', mark + 1):
            return mark + 1
        place = mark + 2  # two of them stand for one
    return -1
