"""A pickle machine that cannot call anything, on which the readers of files from elsewhere are built.

A pickle is a program for a stack machine. Python's own machine imports and calls what the program names. This machine
knows only the instructions that build plain values; a class or function that the file names stays a `Name`, and an
object of such a class becomes an `Inert` placeholder. So a hostile file can reach no code, and no `find_class` can let
a class through by mistake. `pickletools.genops`, which only parses, splits the file into instructions.
"""

import pickletools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

MARK = object()


@dataclass(frozen=True, slots=True)
class Name:
    """The module and the name of a class or function that a pickle mentions. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Inert:
    """The placeholder of an object: its class's name, and the data from which unpickling would make the object.

    `entries` are the items of a mapping, such as an OrderedDict. Placeholders are equal only to themselves, so using
    one as a key takes no time, whatever is in it.
    """

    kind: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)

    @property
    def text(self) -> str | None:
        """The text of a path (its last part), a URL or a member of an enumeration of texts; otherwise None."""
        last = self.arguments[-1] if self.arguments else None
        return last if isinstance(last, str) else None


class PickleMachine(ABC):
    """The stack, the marks on it and the memo, as `pickletools` describes them. One machine reads one pickle.

    A subclass decides what becomes of names, calls and objects. Instructions that do not fit the stack raise
    IndexError, KeyError, TypeError or ValueError.
    """

    steps: ClassVar[Mapping[str, "Step"]]

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    @abstractmethod
    def refuse_instruction(self, name: str) -> Exception:
        """The error for an instruction that `steps` lacks."""

    @abstractmethod
    def name(self, module: str, name: str) -> None:
        """Push the name of a class or function, or raise where the file may not mention it."""

    @abstractmethod
    def call(self) -> None:
        """Take the arguments and then the function of a call, and push what stands for its result."""

    @abstractmethod
    def new_object(self) -> None:
        """Take the arguments and then the class of a new object, and push what stands for the object."""

    @abstractmethod
    def new_object_with_keywords(self) -> None:
        """As `new_object`; before them take the keyword arguments."""

    @abstractmethod
    def build(self) -> None:
        """Take the state of the object that is then on top."""

    @abstractmethod
    def key(self, value: Any) -> Any:
        """What takes the value's place as a key. Hashing nested tuples can take for ever or fill the stack."""

    def run(self, file: IO[bytes]) -> Any:
        """The value of the pickle that begins at the position of `file`, which is left after its end."""
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                (result,) = self._stack
                return result
            step = self.steps.get(opcode.name)
            if step is None:
                raise self.refuse_instruction(opcode.name)
            step(self, argument)
        raise ValueError("no STOP")

    @property
    def top(self) -> Any:
        """The last value, which stays on the stack."""
        return self._stack[-1]

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
        """Add values to the list or set on top. A placeholder drops them: nobody reads the items of a deque."""
        target = self.top
        if type(target) is set:
            target.update(map(self.key, values))
        elif not isinstance(target, Inert):
            list.extend(target, values)

    def set_items(self, values: list[Any]) -> None:
        """Add keys and values, in turns, to the mapping on top."""
        target = self.top
        items = zip(map(self.key, values[::2]), values[1::2], strict=True)
        dict.update(target.entries if isinstance(target, Inert) else target, items)

    def frozen_set(self) -> None:
        """Replace the values above the mark by the placeholder of a frozenset."""
        self.push(Inert(Name("builtins", "frozenset"), (self.pop_to_mark(),)))

    def remember(self, place: int | None) -> None:
        """Copy the value on top into the memo; without a place, into the next one."""
        self._memo[len(self._memo) if place is None else place] = self.top

    def recall(self, place: int) -> None:
        """Push a value from the memo."""
        self.push(self._memo[place])

    def name_on_stack(self) -> None:
        """Take a name and then its module, as protocol 4 gives them."""
        name, module = self.pop(), self.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("the name of a class is not a string")
        self.name(module, name)


Step = Callable[[Any, Any], object]
"""What an instruction does to a machine, given its argument."""


def constant(make: Callable[[], Any]) -> Step:
    """A step that pushes a new value."""
    return lambda machine, _: machine.push(make())


def _tuple_of(count: int) -> Step:
    return lambda machine, _: machine.push(machine.pop_last(count))


STEPS: dict[str, Step] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda _machine, _: None),  # of the encoding, which `genops` handles
    **dict.fromkeys(
        # values that the file contains directly
        (
            *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
            *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
            "BYTEARRAY8",
        ),
        PickleMachine.push,
    ),
    "NONE": constant(lambda: None),
    "NEWTRUE": constant(lambda: True),
    "NEWFALSE": constant(lambda: False),
    "EMPTY_LIST": constant(list),
    "EMPTY_DICT": constant(dict),
    "EMPTY_SET": constant(set),
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "FROZENSET": lambda machine, _: machine.frozen_set(),
    "MARK": constant(lambda: MARK),
    # A tuple that contains itself is taken from the stack again, because it is in the memo.
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.pop_to_mark(),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.pop_last(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), PickleMachine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), PickleMachine.recall),
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name_on_stack(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "NEWOBJ_EX": lambda machine, _: machine.new_object_with_keywords(),
    "BUILD": lambda machine, _: machine.build(),
}
"""The instructions of protocol 2 and later that plain values and objects need."""
