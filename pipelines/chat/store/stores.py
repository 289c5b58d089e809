"""The stores below one root folder, opened by the names that clients send."""

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
    """The folder that the setting `chat.stores` names. A relative path starts at the root of the repository."""
    return ROOT / Path(setting).expanduser()


@dataclass(frozen=True, slots=True)
class _Damage:
    """The fields of a `StoreCorrupt`. The error itself is not kept: its traceback would hold a caller's request."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """A store that is open or being opened, and the state of its file at that time."""

    state: State
    opening: asyncio.Task[Store | _Damage]

    @property
    def size(self) -> int:
        """Bytes of the file; the open store takes about as much memory."""
        return self.state[2]


class Stores:
    """Opens stores and keeps those that were requested last: at most `capacity`, with at most `max_bytes` together.

    A single store over `max_bytes` is open alone. An instance belongs to one event loop.
    """

    def __init__(self, root: Path, capacity: int, max_bytes: int) -> None:
        self._root = root
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def get(self, db_path: str) -> Store:
        """Return the store that a client names: one folder of the root, with or without a trailing slash.

        A store that was rebuilt is opened again. Raises StoreNotFound, without details, for every other path and for
        symbolic links that lead out of the root. Raises StoreCorrupt for a damaged file, which is read only once.
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
            opened = await asyncio.shield(kept.opening)  # other callers may wait for it when this one is cancelled
        except OSError as error:  # such as too many open files: the next request tries again
            self._kept.pop(name, None)
            raise StoreCorrupt(name, error.strerror or type(error).__name__) from None
        except StoreNotFound:  # removed after its file was found
            self._kept.pop(name, None)
            raise StoreNotFound from None
        if isinstance(opened, _Damage):
            raise StoreCorrupt(opened.where, opened.why)
        return opened

    async def _open(self, folder: Path) -> Store | _Damage:
        """Open one store at a time, so that requests for many stores do not read all of them into memory at once."""
        async with self._one_at_a_time:
            try:
                return await Store.open(folder)
            except StoreCorrupt as error:
                return _Damage(error.where, error.why)

    def _close_oldest(self) -> None:
        """Close all over the limits except the last requested. Running searches keep a closed store until they end."""
        while len(self._kept) > 1 and (len(self._kept) > self._capacity or self._size() > self._max_bytes):
            self._kept.popitem(last=False)

    def _size(self) -> int:
        return sum(kept.size for kept in self._kept.values())

    def _file(self, name: str) -> Path:
        try:
            root = self._root.resolve()
            file = (root / name / STORE).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError for symbolic links in a circle
            raise StoreNotFound from None
        if file.name != STORE or file.parent.parent != root:
            raise StoreNotFound
        return file


def _name(db_path: str) -> str:
    if not _NAME.fullmatch(db_path := nfc(db_path)):
        raise StoreNotFound
    return db_path.removesuffix("/")


def _state(file: Path) -> State:
    """Inode, modification time and size; they differ after another file has replaced the file."""
    try:
        status = file.stat()
    except OSError:
        raise StoreNotFound from None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _retrieve(opening: asyncio.Task[Store | _Damage]) -> None:
    """Read the task's error, so that asyncio does not log it where all callers were cancelled before."""
    if not opening.cancelled():
        opening.exception()
