"""Say what is wrong with an uploaded file that can't be read: what it is, where the fault is, and what to do.

The sentences never repeat the file's text. Lines and columns are counted from 1, columns in characters.
"""

import codecs
import re
from typing import NoReturn

from pydantic_core import from_json

from pipelines.errors import MalformedInput, UnsupportedMedia

WANTED = 'save the pairs as JSON {"results": [...]}, as JSON Lines, or as CSV with a header line'

_UTF32 = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
)  # before UTF-16, whose mark is its beginning
_UTF16 = ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_BINARY = {
    b"PK\x03\x04": f"a zip file or an Excel workbook; {WANTED} (in Excel: CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": f"an Excel workbook or another file of Microsoft Office; {WANTED} (in Excel: CSV UTF-8)",
    b"PAR1": f"a Parquet file; {WANTED}",
    b"%PDF": f"a PDF; {WANTED}",
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_SYNTAX = {
    "trailing comma": "a comma stands before a closing bracket; delete the comma",
    "trailing characters": "more text follows after the end of the JSON value; delete it",
    "EOF": "the text ends within a JSON value; it is cut, or a closing bracket or quotation mark is missing",
    "key must be a string": "a key must be in double quotation marks",
    "control character": "a string contains a control character, such as a line break; write it as an escape (\\n)",
    "invalid escape": "a string contains a backslash that begins no escape of JSON; write it as \\\\",
    "unexpected end of hex": "an escape \\u is cut or is half of a surrogate pair; write both halves, or the character",
    "lone": "an escape \\u is half of a surrogate pair; write both halves, or the character itself",
    "recursion limit": "lists and objects are nested too deeply",
}
_PLACE = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL)


def refuse_unreadable(content: bytes) -> None:
    """Raise UnsupportedMedia if the content is compressed, MalformedInput if it is of a binary format or not UTF-8."""
    for beginning, program in _COMPRESSED.items():
        if content.startswith(beginning):
            raise UnsupportedMedia(f"the file is compressed with {program}; send it uncompressed")
    for beginning, what in _BINARY.items():
        if content.startswith(beginning):
            raise MalformedInput(f"the file is {what}")
    if name := _wide_encoding(content):
        raise MalformedInput(f"the file is in {name}, as its first bytes (line 1, column 1) show; save it as UTF-8")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        _refuse_encoding(content, error.start)


def place(content: bytes, offset: int, first_line: int = 1) -> str:
    """The line and column of a byte, as words; the content begins on `first_line`."""
    begin = content.rfind(b"\n", 0, offset) + 1
    column = len(content[begin:offset].decode(errors="replace")) + 1
    line = content.count(b"\n", 0, offset) + first_line
    return f"line {line}, column {column}"


def json_fault(error: MalformedInput, content: bytes, first_line: int = 1) -> str:
    """The place and the fault of a JSON text that begins on `first_line`, for which `read_json` raised `error`."""
    found = _PLACE.fullmatch(_syntax_error(content))
    if found is None:
        return f"from line {first_line} on: {error}"
    fault, line, column = found[1], int(found[2]), int(found[3])  # the parser counts columns in bytes
    offset = max(_line_start(content, line) + column - 1, 0)
    if fault == "trailing comma":
        offset = content.rfind(b",", 0, offset)
    why = next((words for beginning, words in _SYNTAX.items() if fault.startswith(beginning)), fault)
    return f"{place(content, offset, first_line)}: {why}"


def _syntax_error(content: bytes) -> str:
    """The words of a parser that says more than Python's about a fault; empty for what it accepts."""
    try:
        from_json(content)
    except ValueError as error:
        return str(error)
    return ""


def _line_start(content: bytes, line: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = content.index(b"\n", start) + 1
    return start


def _wide_encoding(content: bytes) -> str | None:
    """The encoding of a text whose characters take two or four bytes, by its mark or by its zeros (RFC 4627)."""
    for mark, name in (*_UTF32, *_UTF16):
        if content.startswith(mark):
            return name
    zeros = [byte == 0 for byte in content[:4]]
    if zeros in ([True, True, True, False], [False, True, True, True]):
        return "UTF-32"
    return "UTF-16" if zeros in ([True, False, True, False], [False, True, False, True]) else None


def _refuse_encoding(content: bytes, offset: int) -> NoReturn:
    where = f"{place(content, offset)} is not UTF-8"
    if _has_hangul(content[:offset].decode()):
        raise MalformedInput(f"the file begins as UTF-8, but {where}; it is damaged or mixes encodings: save it again")
    try:
        korean = _has_hangul(content.decode("cp949"))
    except UnicodeDecodeError:
        korean = False
    if korean:
        advice = "it can be read as CP949 (EUC-KR); save it as UTF-8 (in Excel: CSV UTF-8)"
        raise MalformedInput(f"the file is in another encoding than UTF-8: {where}; {advice}")
    raise MalformedInput(f"the file is binary or in another encoding than UTF-8: {where}; {WANTED}, in UTF-8")


def _has_hangul(text: str) -> bool:
    return re.search("[가-힣]", text) is not None
