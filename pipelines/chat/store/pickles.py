"""Read LangChain's `index.pkl` as data, with a pickle machine that cannot call anything.

A pickle is a program for a stack machine. Python's own machine imports and calls what the program names. This machine
knows only the instructions that build plain values and records; a class that the file names stays a name. So a hostile
file can reach no code, and no `find_class` can let a class through by mistake. `pickletools.genops`, which only parses,
splits the file into instructions. Where Python would call a class, this machine makes a record or a placeholder
(`inert.py`), and refuses the file if the class is of another kind.

LangChain's `FAISS.save_local` pickles the pair (docstore, {row: document's id}) with protocol 4 or later: an
`InMemoryDocstore` whose `_dict` holds `Document`s, pydantic models of version 1 or 2, by id.
"""

import pickletools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.chat.store.inert import (
    LOOKUP,
    VALUES,
    Inert,
    Name,
    hides_pickle,
    is_langchain_model,
    is_listed,
    looked_up,
    makes_member,
    may_be_member,
)
from pipelines.chat.store.pickle_stack import MARK, Stack
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


@dataclass(slots=True, eq=False)
class Record:
    """An object of such a class: the class's name, and the state that unpickling would give the object."""

    kind: Name
    state: Any = field(default=None)


def read_records(path: Path, inert: Collection[str] = ()) -> Any:
    """Read the pickle at `path`: plain values, a `Record` for each of LangChain's objects, an `Inert` for each other.

    `inert` are further classes, as `module.name`, whose objects become placeholders. Raises StoreUnsafe where the file
    asks for anything except plain data, `RECORDS` and inert values; the error names it. Raises StoreCorrupt where the
    file is cut or is no pickle.
    """
    try:
        with path.open("rb") as file:
            return _Machine(path, frozenset(inert)).run(pickletools.genops(file))
    except StoreUnsafe:
        raise
    except OSError as error:
        raise StoreCorrupt(str(path), error.strerror or type(error).__name__) from error
    except Exception as error:  # a damaged file makes the machine's stack raise IndexError, KeyError, TypeError, ...
        raise StoreCorrupt(str(path), "not a complete pickle") from error


class _Machine(Stack):
    """Follows the instructions of one file."""

    def __init__(self, path: Path, inert: frozenset[str]) -> None:
        super().__init__()
        self._path = path
        self._inert = inert
        self._unproven: set[Name] = set()  # names that are allowed only if the file uses them in one way

    def run(self, instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        for opcode, argument, _ in instructions:
            if opcode.name == "STOP":
                result = self.only()
                for kind in self._unproven:
                    raise self._refusal(kind)
                return result
            step = _STEPS.get(opcode.name)
            if step is None:
                raise StoreUnsafe(str(self._path), f"asks for {opcode.name}, which plain records do not need")
            step(self, argument)
        raise ValueError("no STOP")

    def name(self, module: Any, name: Any) -> None:
        """Push the name of a class. Raises StoreUnsafe, with the name, where no record or value can have this class."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("the name of a class is not a string")
        kind = Name(module, name)
        if not (self._is_value(kind) or _is_record(kind)):
            if kind not in LOOKUP and not may_be_member(kind):
                raise self._refusal(kind)
            self._unproven.add(kind)
        self.push(kind)

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def call(self, _: Any) -> None:
        """Push what the call of a class would make: a placeholder. Nothing is called."""
        arguments, kind = self.pop(), self.pop()
        self._expect_class(kind, arguments)
        if kind in LOOKUP and (found := looked_up(arguments)):
            self._unproven.discard(kind)
            self.push(found)
        elif self._is_value(kind) or (makes_member(kind, arguments) and not _is_record(kind)):
            self._push_inert(kind, arguments)
        else:
            raise self._refusal(kind)

    def new_object(self, _: Any) -> None:
        arguments, kind = self.pop(), self.pop()
        self._expect_class(kind, arguments)
        if _is_record(kind) and arguments == ():
            self.push(Record(kind))
        elif self._is_value(kind) or (is_langchain_model(kind) and arguments == ()):
            self._push_inert(kind, arguments)
        else:
            raise self._refusal(kind)

    def new_object_with_keywords(self, argument: Any) -> None:
        keywords = self.pop()
        self.new_object(argument)
        if isinstance(made := self.top, Inert):
            made.state = keywords
        elif keywords:
            raise StoreUnsafe(str(self._path), "creates an object in a way that records do not need")

    def build(self, _: Any) -> None:
        state, made = self.pop(), self.top
        if not isinstance(made, Record | Inert):
            raise StoreUnsafe(str(self._path), "sets the state of something that is neither a record nor a value")
        self._refuse_hidden(state)
        made.state = state

    def _is_value(self, kind: Name) -> bool:
        return kind in VALUES or str(kind) in self._inert

    def _push_inert(self, kind: Name, arguments: tuple[Any, ...]) -> None:
        self._refuse_hidden(arguments)
        self._unproven.discard(kind)
        self.push(Inert(kind, arguments))

    def _expect_class(self, kind: Any, arguments: Any) -> None:
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise StoreUnsafe(str(self._path), "creates an object in a way that records do not need")

    def _refuse_hidden(self, values: Any) -> None:
        if hides_pickle(values):
            raise StoreUnsafe(str(self._path), "has a numpy array whose objects are pickled once more inside it")

    def _refusal(self, kind: Name) -> StoreUnsafe:
        why = f"names {kind}, which is none of LangChain's records and no plain value"
        advice = f"; if you know that it only holds data, add --inert {kind}: it is skipped, and not called"
        return StoreUnsafe(str(self._path), why + ("" if is_listed(kind) else advice))


def _is_record(kind: Name) -> bool:
    return (kind.module, kind.name) in RECORDS


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
            *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
            *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
            "BYTEARRAY8",
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
    "MARK": _constant(lambda: MARK),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "FROZENSET": _Machine.frozen_set,
    # A tuple that contains itself is taken from the stack again, because it is in the memo.
    "POP": lambda machine, _: machine.discard(),
    "POP_MARK": lambda machine, _: machine.discard_to_mark(),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.pop_last(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "STACK_GLOBAL": _Machine.stack_global,
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "BUILD": _Machine.build,
}
