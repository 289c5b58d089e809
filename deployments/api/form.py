"""Read the one file of an uploaded form (multipart/form-data, RFC 7578) from memory, without temporary files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipelines.errors import FieldFault, InvalidInput, MalformedInput
from pipelines.text.strict_json import BOM

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
MAX_PARTS = 100
MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1


@dataclass(slots=True)
class Part:
    """One part of a form. The name is "" and the file name is None if the part does not name them."""

    name: str = ""
    filename: str | None = None
    pieces: list[bytes] = field(default_factory=list)


def file_of_form(content_type: str, body: bytes) -> bytes:
    """Return the content of the file in the form.

    content_type  the header, which names the boundary between the parts

    Raises MalformedInput if the form can't be read, does not end, or has more than `MAX_PARTS` parts, and InvalidInput
    if it does not have exactly one file with the name `FIELD`, or that file is empty.
    """
    parts = [part for part in _parts(boundary_of(content_type), body) if part.name == FIELD]
    if not parts:
        raise _refusal("missing", "Field required")
    if len(parts) > 1:
        why = f"{len(parts)} parts of the form have the name {FIELD}; send one request for each file"
        raise _refusal("too_many_files", why)
    if parts[0].filename is None:
        raise _refusal("not_a_file", "the part has no file name; send it as a file")
    content = b"".join(parts[0].pieces)
    if not content.removeprefix(BOM).strip():
        raise _refusal("empty", "the file is blank" if content else "the file is empty")
    return content


def _refusal(code: str, why: str) -> InvalidInput:
    return InvalidInput(FieldFault(f"/{FIELD}", code, why))


def boundary_of(content_type: str) -> bytes:
    """The boundary between the parts, from the header. Raises MalformedInput."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise MalformedInput(f"the Content-Type of the form has no boundary of 1 to {MAX_BOUNDARY} characters")
    return boundary


def _parts(boundary: bytes, body: bytes) -> Sequence[Part]:
    """The parts of the form. Text before the first boundary is refused: nobody sends it, and the parser skips it."""
    if not body.removeprefix(b"\r\n").startswith(b"--" + boundary):
        raise MalformedInput("the form does not begin with the boundary that its Content-Type names")
    reader = FormReader()
    try:
        MultipartParser(boundary, reader.callbacks()).write(body)
    except FormParserError:
        raise MalformedInput("the form is damaged") from None
    if not reader.ended:
        raise MalformedInput("the form is cut off: its last boundary is missing")
    return reader.parts


class FormReader:
    """Collects what the parser finds. It keeps only the data of parts with the name `FIELD`."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._header = b""
        self._value = b""

    def callbacks(self) -> "MultipartCallbacks":
        """The parser's callbacks."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_header,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise MalformedInput(f"the form has more than {MAX_PARTS} parts")
        self.parts.append(Part())

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            part = self.parts[-1]
            part.name = options.get(b"name", b"").decode(errors="replace")
            part.filename = options[b"filename"].decode(errors="replace") if b"filename" in options else None
        self._header = self._value = b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self.parts[-1].name == FIELD:
            self.parts[-1].pieces.append(data[start:end])

    def _end(self) -> None:
        self.ended = True
