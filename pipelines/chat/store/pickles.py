"""Read LangChain's `index.pkl` as data: plain values, records, and placeholders of other inert objects.

Nothing that the file names is imported or called (`pipelines.format.pickle_machine`). Where Python would call a class,
there is a record or a placeholder (`inert.py`), and the file is refused if the class is of another kind.

LangChain's `FAISS.save_local` pickles the pair (docstore, {row: document's id}) with protocol 4 or later: an
`InMemoryDocstore` whose `_dict` holds `Document`s, pydantic models of version 1 or 2, by id.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipelines.chat.store.inert import (
    LOOKUP,
    VALUES,
    hides_pickle,
    is_langchain_model,
    is_listed,
    looked_up,
    makes_member,
    may_be_member,
)
from pipelines.errors import StoreCorrupt, StoreUnsafe
from pipelines.format.pickle_machine import STEPS, Inert, Name, PickleMachine

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
LARGEST_KEY = 1000
"""Most values in a tuple that is a key. Hashing a small file's tuples of tuples can take for ever or fill the stack."""


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
            return _Machine(path, frozenset(inert)).run(file)
    except StoreUnsafe:
        raise
    except OSError as error:
        raise StoreCorrupt(str(path), error.strerror or type(error).__name__) from error
    except Exception as error:  # a damaged file makes the machine's stack raise IndexError, KeyError, TypeError, ...
        raise StoreCorrupt(str(path), "not a complete pickle") from error


class _Machine(PickleMachine):
    """Reads one file. Raises StoreUnsafe where it asks for more than plain data, records and inert values."""

    steps = STEPS

    def __init__(self, path: Path, inert: frozenset[str]) -> None:
        super().__init__()
        self._path = path
        self._inert = inert
        self._unproven: set[Name] = set()  # names that are allowed only if the file uses them in one way

    def refuse_instruction(self, name: str) -> StoreUnsafe:
        """The error for an instruction that records do not need."""
        return StoreUnsafe(str(self._path), f"asks for {name}, which plain records do not need")

    def run(self, file: IO[bytes]) -> Any:
        """As `PickleMachine.run`. Raises StoreUnsafe, too, where a name was not used in the one way that is allowed."""
        result = super().run(file)
        for kind in self._unproven:
            raise self._refusal(kind)
        return result

    def name(self, module: str, name: str) -> None:
        """Push the name of a class. Raises StoreUnsafe, with the name, where no record or value can have this class."""
        kind = Name(module, name)
        if not (self._is_value(kind) or _is_record(kind)):
            if kind not in LOOKUP and not may_be_member(kind):
                raise self._refusal(kind)
            self._unproven.add(kind)
        self.push(kind)

    def call(self) -> None:
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

    def new_object(self) -> None:
        """Push a record or a placeholder."""
        arguments, kind = self.pop(), self.pop()
        self._expect_class(kind, arguments)
        if _is_record(kind) and arguments == ():
            self.push(Record(kind))
        elif self._is_value(kind) or (is_langchain_model(kind) and arguments == ()):
            self._push_inert(kind, arguments)
        else:
            raise self._refusal(kind)

    def new_object_with_keywords(self) -> None:
        """Push a placeholder with the keywords as its state; a record has none."""
        keywords = self.pop()
        self.new_object()
        if isinstance(made := self.top, Inert):
            made.state = keywords
        elif keywords:
            raise StoreUnsafe(str(self._path), "creates an object in a way that records do not need")

    def build(self) -> None:
        """Give the record or placeholder on top its state."""
        state, made = self.pop(), self.top
        if not isinstance(made, Record | Inert):
            raise StoreUnsafe(str(self._path), "sets the state of something that is neither a record nor a value")
        self._refuse_hidden(state)
        made.state = state

    def key(self, value: Any) -> Any:
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
