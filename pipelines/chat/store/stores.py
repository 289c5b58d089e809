"""The stores under one root, by the names that clients may say."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import regex

from pipelines.chat.store.file import STORE
from pipelines.chat.store.store import Store
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import StoreCorrupt, StoreNotFound
from pipelines.text.normalization import nfc

_NAME = regex.compile(r"\w[\w.-]*/?")
State = tuple[int, int, int]


def stores_root(setting: str) -> Path:
    """The folder that the `chat.stores` setting names; where relative, it counts from the repository's root."""
    return ROOT / Path(setting).expanduser()


@dataclass(frozen=True, slots=True)
class _Damage:
    """What a `StoreCorrupt` says; kept in its place, whose traceback would hold the last caller's request."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """A store that is open or being opened, and the state of its file then."""

    state: State
    opening: asyncio.Task[Store | _Damage]

    @property
    def size(self) -> int:
        """The file's, in bytes; open, the store takes about as many of memory."""
        return self.state[2]


class Stores:
    """At most `capacity` of them, of `max_bytes` together, stay open: those asked for last. For one event loop.

    One over `max_bytes` by itself is open alone.
    """

    def __init__(self, root: Path, capacity: int, max_bytes: int) -> None:
        self._root = root
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def get(self, db_path: str) -> Store:
        """The store that a client names: one folder of the root, with or without a slash behind it.

        One that was rebuilt is opened anew. Raises StoreNotFound, the same for everything else that a path can be and
        for what leads out of the root by a symbolic link; StoreCorrupt, again and again without reading the file anew.
        """
        name = _name(db_path)
        file = self._file(name)
        state = _state(file)
        kept = self._kept.get(name)
        if kept is None or kept.state != state:
            kept = self._kept[name] = _Kept(state, asyncio.create_task(self._open(file.parent)))
            kept.opening.add_done_callback(_retrieve)
        self._kept.move_to_end(name)
        self._close_oldest()
        try:
            opened = await asyncio.shield(kept.opening)  # others may wait for it when this caller goes
        except OSError as error:  # such as too many open files, which may be over when it is asked for again
            self._kept.pop(name, None)
            raise StoreCorrupt(name, error.strerror or type(error).__name__) from None
        except StoreNotFound:  # removed since its file was found
            self._kept.pop(name, None)
            raise StoreNotFound from None
        if isinstance(opened, _Damage):
            raise StoreCorrupt(opened.where, opened.why)
        return opened

    async def _open(self, folder: Path) -> Store | _Damage:
        """One store after the other: names asked for in turn are not all read into memory at once."""
        async with self._one_at_a_time:
            try:
                return await Store.open(folder)
            except StoreCorrupt as error:
                return _Damage(error.where, error.why)

    def _close_oldest(self) -> None:
        """But never the one asked for last. Searches in a store go on, and it is gone with the last of them."""
        while len(self._kept) > 1 and (len(self._kept) > self._capacity or self._size() > self._max_bytes):
            self._kept.popitem(last=False)

    def _size(self) -> int:
        return sum(kept.size for kept in self._kept.values())

    def _file(self, name: str) -> Path:
        try:
            root = self._root.resolve()
            file = (root / name / STORE).resolve(strict=True)
        except (OSError, RuntimeError):  # the latter for links in a circle
            raise StoreNotFound from None
        if file.name != STORE or file.parent.parent != root:
            raise StoreNotFound
        return file


def _name(db_path: str) -> str:
    if not _NAME.fullmatch(db_path := nfc(db_path)):
        raise StoreNotFound
    return db_path.removesuffix("/")


def _state(file: Path) -> State:
    """What differs once another file has taken the place of the one that was opened."""
    try:
        status = file.stat()
    except OSError:
        raise StoreNotFound from None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _retrieve(opening: asyncio.Task[Store | _Damage]) -> None:
    """So that asyncio does not complain of an error that came when nobody waited for it any longer."""
    if not opening.cancelled():
        opening.exception()
