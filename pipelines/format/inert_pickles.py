"""Read the pickle inside a torch file as data, with a pickle machine that cannot call anything.

A pickle is a program for a stack machine. Python's own machine imports and calls what the program names. This machine
knows only the instructions that build plain values; a class or function that the file names stays a `Name`, an object
of such a class is an `Inert` placeholder, and a tensor is a `StoredTensor`, a description of numbers elsewhere in the
file. `pickletools.genops`, which only parses, splits the file into instructions.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipelines.errors import CheckpointUnsafe
from pipelines.format.pickle_names import Name, may_be_called, may_be_mentioned, named


@dataclass(slots=True, eq=False)
class Inert:
    """A placeholder for an object of the class `kind`; `entries` are what the file puts into it as into a mapping."""

    kind: Name
    entries: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that are stored in the file under `key`; `kind` is torch's class for them, such as `FloatStorage`."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor in the file: a strided view of a storage. `dtype` is given where the storage is only bytes."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None = None


class InertMachine:
    """The stack, the marks on it and the memo, as `pickletools` describes them. One machine reads one pickle."""

    def __init__(self, path: Path) -> None:
        self.storages: dict[str, Storage] = {}
        self.foreign: list[Name] = []
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """The value of the pickle that begins at the position of `file`, which is left after its end.

        Raises CheckpointUnsafe, naming what the file would call, if that is not inert. A damaged pickle raises
        ValueError, IndexError, KeyError, TypeError and others.
        """
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                (result,) = self._stack
                return result
            step = _STEPS.get(opcode.name)
            if step is None:
                raise self._refusal(f"it asks for {opcode.name}, which weights and plain data do not need")
            step(self, argument)
        raise ValueError("no STOP")

    def _refusal(self, why: str) -> CheckpointUnsafe:
        bottom = self._stack[0] if self._stack else None
        whole = bottom.kind if isinstance(bottom, Inert) else None
        return CheckpointUnsafe(str(self._path), why if whole is None else whole_object(whole))

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("the name of a class is not a string")
        found = named(module, name)
        if not may_be_mentioned(found):
            raise self._refusal(f"it names {found}, which is neither a tensor nor plain data; {_ADVICE}")
        self._push(found)

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _persistent(self, _: Any) -> None:
        """Push what torch keeps outside of the pickle: a storage, or in old files the class of a module."""
        what, kind, *rest = self._pop()
        if what == "module":  # its source code follows, which is not looked at
            self._push(kind)
            return
        key, _, count, *view = rest
        if what != "storage" or any(part is not None for part in view) or not isinstance(count, int):
            raise ValueError("not a storage")
        storage = Storage(kind.name, str(key), count)
        self.storages.setdefault(storage.key, storage)
        self._push(storage)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        self._push(self._called(function, arguments))

    def _called(self, function: Any, arguments: Any) -> Any:
        """What a call would give: a tensor, a mapping or a placeholder."""
        if type(arguments) is not tuple:
            raise TypeError("the arguments of a call are not a tuple")
        if not isinstance(function, Name):
            raise self._refusal(f"it calls something that is not a class; {_ADVICE}")
        maker = _MAKERS.get(str(function))
        if maker is not None:
            return maker(self, arguments)
        if not may_be_called(function, arguments):
            raise self._refusal(f"it calls {function}, which is neither a tensor nor plain data; {_ADVICE}")
        return self._placeholder(function)

    def _from_type(self, arguments: tuple[Any, ...]) -> Any:
        """A tensor with a type or attributes of its own; only torch's own types are tensors here."""
        function, kind, inner, *_ = arguments
        made = self._called(function, inner)
        return made if str(kind) in _TENSORS else self._placeholder(kind)

    def _reconstructed(self, arguments: tuple[Any, ...]) -> Inert:
        """An object that `copyreg` would make from the class that is the first argument."""
        return self._placeholder(arguments[0])

    def _placeholder(self, kind: Any) -> Inert:
        if not isinstance(kind, Name):
            raise self._refusal(f"it creates an object of something that is not a class; {_ADVICE}")
        self.foreign.append(kind)
        return Inert(kind)

    def _new_object(self, _: Any) -> None:
        self._pop()  # the arguments
        self._push(self._placeholder(self._pop()))

    def _new_object_with_keywords(self, _: Any) -> None:
        self._pop()
        self._new_object(None)

    def _build(self, _: Any) -> None:
        """Drop the state of an object: no class is there to interpret it."""
        self._pop()
        if not isinstance(self._stack[-1], Inert | StoredTensor | Name | dict):
            raise TypeError("only objects have a state")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise IndexError("a mark in place of a value")
        return value

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _pop_last(self, count: int) -> tuple[Any, ...]:
        return tuple(self._pop() for _ in range(count))[::-1]

    def _drop(self, _: Any) -> None:
        self._stack.pop()

    def _frozen_set(self, _: Any) -> None:
        self._pop_to_mark()
        self._push(Inert(Name("builtins", "frozenset")))

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, Inert):  # an object that is a list, or a set: its items are dropped
            list.extend(target, values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, Inert) else target
        dict.update(entries, zip(map(_key, values[::2]), values[1::2], strict=True))

    def _remember(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def _recall(self, place: int) -> None:
        self._push(self._memo[place])


def whole_object(kind: Name) -> str:
    """Why a file that is, or holds in place of its weights, an object of the class `kind` is refused."""
    return (
        f"holds a whole object of the class {kind}, as torch.save(model) writes it; reading it would run that class. "
        f"Save only the weights: torch.save(model.state_dict(), file)"
    )


def _key(value: Any) -> Any:
    """The value, if it is plain, or else a placeholder. Hashing nested tuples can take for ever or fill the stack."""
    plain = isinstance(value, str | int | float | bytes | None | Name | Inert)
    return value if plain else Inert(Name("builtins", type(value).__name__))


def _tensor(_: InertMachine, arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, size, stride = arguments[:4]
    dtype = arguments[6].name if len(arguments) > 6 and isinstance(arguments[6], Name) else None
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise TypeError("not a tensor")
    return StoredTensor(storage, offset, tuple(size), tuple(stride), dtype)


def _mapping(_: InertMachine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """OrderedDict(), OrderedDict(pairs), Counter(dict) or defaultdict(factory) as a dict."""
    given = arguments[0] if arguments else {}
    if isinstance(given, dict):
        return dict(given)
    return {_key(key): value for key, value in given} if isinstance(given, list) else {}


def _constant(make: Callable[[], Any]) -> Callable[[InertMachine, Any], None]:
    return lambda machine, _: machine._push(make())


def _tuple_of(count: int) -> Callable[[InertMachine, Any], None]:
    return lambda machine, _: machine._push(machine._pop_last(count))


def _do_nothing(machine: InertMachine, argument: Any) -> None:
    """Skip PROTO and FRAME: they describe the encoding, which `genops` handles."""


_ADVICE = "nothing was run. Save only the weights: torch.save({'state_dict': model.state_dict()}, file)"
_MARK = object()
_TENSORS = {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
_MAKERS: dict[str, Callable[[InertMachine, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": lambda _, arguments: arguments[0],
    "torch._utils._rebuild_parameter_with_state": lambda _, arguments: arguments[0],
    "torch._tensor._rebuild_from_type_v2": InertMachine._from_type,
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _mapping,
    "copyreg._reconstructor": InertMachine._reconstructed,
}

_STEPS: dict[str, Callable[[InertMachine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _do_nothing),
    **dict.fromkeys(
        # values that the file contains directly
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        InertMachine._push,
    ),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_SET": _constant(lambda: Inert(Name("builtins", "set"))),
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._pop_to_mark())),
    "LIST": lambda machine, _: machine._push(machine._pop_to_mark()),
    "FROZENSET": InertMachine._frozen_set,
    "MARK": _constant(lambda: _MARK),
    "POP": InertMachine._drop,
    "POP_MARK": lambda machine, _: machine._pop_to_mark().clear(),
    "APPEND": lambda machine, _: machine._append([machine._pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine._append(machine._pop_to_mark()),
    "SETITEM": lambda machine, _: machine._set_items(list(machine._pop_last(2))),
    "SETITEMS": lambda machine, _: machine._set_items(machine._pop_to_mark()),
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), InertMachine._remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), InertMachine._recall),
    "GLOBAL": lambda machine, argument: machine._name(*argument.split(" ", 1)),
    "STACK_GLOBAL": InertMachine._stack_global,
    "BINPERSID": InertMachine._persistent,
    "REDUCE": InertMachine._reduce,
    "NEWOBJ": InertMachine._new_object,
    "NEWOBJ_EX": InertMachine._new_object_with_keywords,
    "BUILD": InertMachine._build,
}
