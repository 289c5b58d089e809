"""The stack of the pickle machine, the marks on it and its memo, as `pickletools` describes them."""

from typing import Any

from pipelines.chat.store.inert import Inert, Name

MARK = object()
LARGEST_KEY = 1000
"""Most values in a tuple that is a key. Hashing a small file's tuples of tuples can take for ever or fill the stack."""


class Stack:
    """Values, and what the instructions do to them that needs no class.

    Instructions that do not fit the stack raise IndexError, KeyError, TypeError or ValueError.
    """

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    @property
    def top(self) -> Any:
        """The last value, which stays on the stack."""
        return self._stack[-1]

    def only(self) -> Any:
        """The value that is alone on the stack, as the result of a complete pickle is."""
        (value,) = self._stack
        return value

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the last value."""
        value = self._stack.pop()
        if value is MARK:
            raise IndexError("a mark in place of a value")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Take the last mark and the values above it, in the order in which they came."""
        values: list[Any] = []
        while (value := self._stack.pop()) is not MARK:
            values.append(value)
        return values[::-1]

    def pop_last(self, count: int) -> tuple[Any, ...]:
        """Take the last `count` values, in the order in which they came."""
        return tuple(self.pop() for _ in range(count))[::-1]

    def append(self, values: list[Any]) -> None:
        """Add values to the list or set on top."""
        target = self.top
        if type(target) is set:
            target.update(map(_key, values))
        elif not isinstance(target, Inert):  # nobody reads the items of a deque
            list.extend(target, values)

    def set_items(self, values: list[Any]) -> None:
        """Add keys and values, in turns, to the mapping on top."""
        target = self.top
        items = zip(map(_key, values[::2]), values[1::2], strict=True)
        dict.update(target.entries if isinstance(target, Inert) else target, items)

    def frozen_set(self, _: Any) -> None:
        """Replace the values above the mark by the placeholder of a frozenset."""
        self.push(Inert(Name("builtins", "frozenset"), (self.pop_to_mark(),)))

    def remember(self, place: int | None) -> None:
        """Copy the value on top into the memo; without a place, into the next one."""
        self._memo[len(self._memo) if place is None else place] = self.top

    def recall(self, place: int) -> None:
        """Push a value from the memo."""
        self.push(self._memo[place])

    def discard(self) -> None:
        """Drop the last value."""
        self.pop()

    def discard_to_mark(self) -> None:
        """Drop the last mark and the values above it."""
        self.pop_to_mark()


def _key(value: Any) -> Any:
    """The value, if it is plain, a placeholder, or a tuple of few such values."""
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        if isinstance(item, tuple):
            seen += len(item)
            if seen > LARGEST_KEY:
                raise TypeError("a key is a tuple of too many values")
            pending.extend(item)
        elif not isinstance(item, str | int | float | bytes | Inert | None):
            raise TypeError("a key is not a plain value")
    return value
