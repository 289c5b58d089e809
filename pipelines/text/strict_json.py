"""Read JSON as RFC 8259 defines it, in UTF-8, and refuse what parsers understand in different ways."""

import json
import math
from typing import Any, NoReturn

from pipelines.errors import MalformedInput

BOM = b"\xef\xbb\xbf"
TOO_DEEP = "lists and objects are nested too deeply"


def read_json(content: bytes) -> Any:
    """Parse a JSON text. A byte order mark before it is ignored.

    Raises MalformedInput, whose message repeats nothing of the content, for bytes that are not UTF-8, wrong syntax, a
    key twice in one object, NaN, Infinity, a number beyond the range of floats, and lists nested too deeply.
    """
    try:
        return _DECODER.decode(content.removeprefix(BOM).decode())
    except UnicodeDecodeError as error:
        raise MalformedInput(f"the text is not UTF-8, from byte {error.start + 1} on") from None
    except json.JSONDecodeError as error:
        raise MalformedInput(f"the text is not valid JSON: line {error.lineno}, column {error.colno}") from None
    except ValueError:  # Python does not convert an integer of thousands of digits
        raise MalformedInput("a number is out of range") from None
    except RecursionError:
        raise MalformedInput(TOO_DEEP) from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its members. RFC 8259 leaves open which member counts if a key is there twice."""
    found = dict(members)
    if len(found) != len(members):
        raise MalformedInput("an object has the same key twice")
    return found


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedInput("a number is out of range")
    return number


def _refuse_constant(_: str) -> NoReturn:
    raise MalformedInput("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_refuse_constant)
