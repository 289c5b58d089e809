"""Read LangChain's `index.pkl` as data, with a pickle machine that cannot call anything.

A pickle is a program for a stack machine. Python's own machine imports and calls what the program names. This machine
knows only the instructions that build plain values and records; a class that the file names stays a name. So a hostile
file can reach no code, and no `find_class` can let a class through by mistake. `pickletools.genops`, which only parses,
splits the file into instructions.

LangChain's `FAISS.save_local` pickles the pair (docstore, {row: document's id}) with protocol 4 or later: an
`InMemoryDocstore` whose `_dict` holds `Document`s, pydantic models of version 1 or 2, by id.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import StoreCorrupt, StoreUnsafe

DOCSTORE, DOCUMENT = "InMemoryDocstore", "Document"
RECORDS = {
    ("langchain.docstore.in_memory", DOCSTORE),
    ("langchain_community.docstore.in_memory", DOCSTORE),
    ("langchain.docstore.document", DOCUMENT),
    ("langchain.schema", DOCUMENT),
    ("langchain.schema.document", DOCUMENT),
    ("langchain_core.documents.base", DOCUMENT),
}
"""Modules and names of the two classes in all versions of LangChain."""

_MARK = object()


@dataclass(frozen=True, slots=True)
class Name:
    """The module and name of a class in the file; one of `RECORDS`."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Record:
    """An object of such a class: the class's name, and the state that unpickling would give the object."""

    kind: Name
    state: Any = field(default=None)


def read_records(path: Path) -> Any:
    """Read the pickle at `path`: plain values, and a `Record` for each object.

    Raises StoreUnsafe where the file asks for anything except plain data and `RECORDS`; the error names it. Raises
    StoreCorrupt where the file is cut or is no pickle.
    """
    try:
        with path.open("rb") as file:
            return _Machine(path).run(pickletools.genops(file))
    except StoreUnsafe:
        raise
    except OSError as error:
        raise StoreCorrupt(str(path), error.strerror or type(error).__name__) from error
    except Exception as error:  # a damaged file makes the machine's stack raise IndexError, KeyError, TypeError, ...
        raise StoreCorrupt(str(path), "not a complete pickle") from error


class _Machine:
    """The stack, the marks on it and the memo, as `pickletools` describes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        for opcode, argument, _ in instructions:
            if opcode.name == "STOP":
                (result,) = self._stack
                return result
            step = _STEPS.get(opcode.name)
            if step is None:
                raise StoreUnsafe(str(self._path), f"asks for {opcode.name}, which plain records do not need")
            step(self, argument)
        raise ValueError("no STOP")

    def name(self, module: Any, name: Any) -> None:
        """Push the name of a class. Raises StoreUnsafe, with the name, where it is none of `RECORDS`."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("the name of a class is not a string")
        if (module, name) not in RECORDS:
            raise StoreUnsafe(str(self._path), f"names {module}.{name}, which is none of LangChain's records")
        self.push(Name(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def new_object(self, _: Any) -> None:
        arguments, kind = self.pop(), self.pop()
        if not isinstance(kind, Name) or arguments != ():
            raise StoreUnsafe(str(self._path), "creates an object in a way that records do not need")
        self.push(Record(kind))

    def build(self, _: Any) -> None:
        state, record = self.pop(), self._stack[-1]
        if not isinstance(record, Record):
            raise StoreUnsafe(str(self._path), "sets the state of something that is not a record")
        record.state = state

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise IndexError("a mark in place of a value")
        return value

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def pop_last(self, count: int) -> tuple[Any, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is set:
            target.update(map(_key, values))
        else:
            list.extend(target, values)

    def set_items(self, values: list[Any]) -> None:
        dict.update(self._stack[-1], zip(map(_key, values[::2]), values[1::2], strict=True))

    def remember(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def recall(self, place: int) -> None:
        self.push(self._memo[place])


def _key(value: Any) -> Any:
    """The value, if it is plain as LangChain's keys are. Hashing nested tuples can take for ever or fill the stack."""
    if not isinstance(value, str | int | float | bytes | None):
        raise TypeError("a key is not a plain value")
    return value


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(machine.pop_last(count))


def _do_nothing(machine: _Machine, argument: Any) -> None:
    """Skip PROTO and FRAME: they describe the encoding, which `genops` handles."""


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _do_nothing),
    **dict.fromkeys(
        # values that the file contains directly
        (
            *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
            *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
        ),
        _Machine.push,
    ),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_SET": _constant(set),
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "MARK": _constant(lambda: _MARK),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.pop_last(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "STACK_GLOBAL": _Machine.stack_global,
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
}
