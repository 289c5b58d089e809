"""Read the pickle inside a torch file as data: plain values, placeholders of objects, and descriptions of tensors.

A tensor becomes a `StoredTensor`, which describes numbers elsewhere in the file. Nothing that the file names is
imported or called (`pipelines.format.pickle_machine`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointUnsafe
from pipelines.format.pickle_machine import STEPS, Inert, Name, PickleMachine, constant
from pipelines.format.pickle_names import may_be_called, may_be_mentioned, named


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


class InertMachine(PickleMachine):
    """Reads the pickle of a torch file. `storages` are the numbers it refers to, `foreign` the classes of placeholders.

    Raises CheckpointUnsafe, naming what the file would call, if that is not inert.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.storages: dict[str, Storage] = {}
        self.foreign: list[Name] = []
        self._path = path

    def refuse_instruction(self, name: str) -> CheckpointUnsafe:
        """The error for an instruction that weights do not need."""
        return self._refusal(f"it asks for {name}, which weights and plain data do not need")

    def _refusal(self, why: str) -> CheckpointUnsafe:
        bottom = self._stack[0] if self._stack else None
        whole = bottom.kind if isinstance(bottom, Inert) else None
        return CheckpointUnsafe(str(self._path), why if whole is None else whole_object(whole))

    def name(self, module: str, name: str) -> None:
        """Push the name. Raises CheckpointUnsafe unless it is that of a tensor or of an inert class."""
        found = named(module, name)
        if not may_be_mentioned(found):
            raise self._refusal(f"it names {found}, which is neither a tensor nor plain data; {_ADVICE}")
        self.push(found)

    def persistent(self) -> None:
        """Push what torch keeps outside of the pickle: a storage, or in old files the class of a module."""
        what, kind, *rest = self.pop()
        if what == "module":  # its source code follows, which is not looked at
            self.push(kind)
            return
        key, _, count, *view = rest
        if what != "storage" or any(part is not None for part in view) or not isinstance(count, int):
            raise ValueError("not a storage")
        storage = Storage(kind.name, str(key), count)
        self.storages.setdefault(storage.key, storage)
        self.push(storage)

    def call(self) -> None:
        """Push a tensor, a mapping or a placeholder. Raises CheckpointUnsafe for other calls."""
        arguments, function = self.pop(), self.pop()
        self.push(self._called(function, arguments))

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

    def new_object(self) -> None:
        """Push a placeholder, and drop the arguments."""
        self.pop()
        self.push(self._placeholder(self.pop()))

    def new_object_with_keywords(self) -> None:
        """Push a placeholder, and drop all arguments."""
        self.pop()
        self.new_object()

    def build(self) -> None:
        """Drop the state of an object: no class is there to interpret it."""
        self.pop()
        if not isinstance(self.top, Inert | StoredTensor | Name | dict):
            raise TypeError("only objects have a state")

    def key(self, value: Any) -> Any:
        """A plain value or a name itself, and a placeholder for anything else."""
        return _key(value)

    def drop(self) -> None:
        """Drop the last value or mark: protocols 0 and 1 drop the marks of tuples that contain themselves."""
        self._stack.pop()


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


_ADVICE = "nothing was run. Save only the weights: torch.save({'state_dict': model.state_dict()}, file)"
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

InertMachine.steps = STEPS | {
    **dict.fromkeys(  # values that the older protocols write
        ("INT", "LONG", "FLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"), InertMachine.push
    ),
    "EMPTY_SET": constant(lambda: Inert(Name("builtins", "set"))),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "POP": lambda machine, _: machine.drop(),
    "PUT": InertMachine.remember,
    "GET": InertMachine.recall,
    "BINPERSID": lambda machine, _: machine.persistent(),
}
