"""Steps down a JSON document that say where they fail."""

from dataclasses import dataclass
from typing import Any, TypeVar

from pipelines.errors import BadRow

Value = TypeVar("Value")
_WORDS = {str: "a text", int: "a whole number from 0", bool: "true or false", list: "a list"}


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document: `source` is the document, `path` the way down, as in `data[3].paragraphs[2]`."""

    source: str
    value: Any
    path: str = ""

    def bad(self, why: str) -> BadRow:
        """The error that says what is wrong here."""
        return BadRow(f"{self.source}, {self.path}" if self.path else self.source, why)

    def items(self, name: str) -> list["Node"]:
        """The list under a key. Raises BadRow, as all of these do, where there is none."""
        below = f"{self.path}.{name}" if self.path else name
        values = self._get(name, list)
        return [Node(self.source, value, f"{below}[{number}]") for number, value in enumerate(values)]

    def text(self, name: str, default: str | None = None) -> str:
        """The text under a key."""
        return self._get(name, str, default)

    def number(self, name: str) -> int:
        """The whole number from 0 under a key."""
        number = self._get(name, int)
        if isinstance(number, bool) or number < 0:
            raise self.bad(f"{name} is not {_WORDS[int]}")
        return number

    def flag(self, name: str) -> bool:
        """The truth value under a key; false where there is none."""
        return self._get(name, bool, False)

    def _get(self, name: str, kind: type[Value], default: Value | None = None) -> Value:
        if not isinstance(self.value, dict):
            raise self.bad("not a JSON object")
        value = self.value.get(name)
        if value is None:
            value = default
        if value is None:
            raise self.bad(f"has no {name}")
        if not isinstance(value, kind):
            raise self.bad(f"{name} is not {_WORDS[kind]}")
        return value
