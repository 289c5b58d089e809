"""The bytes of files and results, on a disk or in an object store.

A file gets its name when it is complete: on a disk by renaming, in an object store by committing its upload. No name
is written twice, so a reader never sees half a file or two versions of one.
"""

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import StorageFailed, StorageFull

BLOCK_BYTES = 2**20
PARTIAL = ".partial"
FULL = {errno.ENOSPC, errno.EDQUOT}
OWNER_ONLY = 0o700


@contextmanager
def storage_errors() -> Iterator[None]:
    """Convert OSError to StorageFull or StorageFailed, without its message, which has a path."""
    try:
        yield
    except OSError as error:
        raise (StorageFull() if error.errno in FULL else StorageFailed(type(error).__name__)) from None


class NewFile:
    """A file that is being written. It has no name until `commit`. All methods raise StorageFull or StorageFailed."""

    def __init__(self, storage: "Storage", name: str) -> None:
        self._storage, self._name = storage, name
        self._place = f"{name}.{uuid.uuid4().hex}{PARTIAL}"
        with storage_errors():
            self._file = storage.open_new(self._place if storage.is_local else name)
        self.size = 0

    def write(self, content: bytes) -> None:
        """Add bytes."""
        with storage_errors():
            self._file.write(content)
        self.size += len(content)

    def commit(self) -> None:
        """Make the file appear under its name, whole and on the disk."""
        with storage_errors():
            self._storage.keep(self._file, self._place, self._name)

    def discard(self) -> None:
        """Forget what was written. Never raises."""
        with suppress(Exception):
            self._storage.drop(self._file, self._place)


class Storage:
    """Files by name, below one folder or URL. Methods that touch files raise StorageFull or StorageFailed."""

    def __init__(self, url: str) -> None:
        filesystem, root = fsspec.core.url_to_fs(url)
        self._filesystem: Any = filesystem
        self._root = str(root).rstrip("/")
        self.is_local = isinstance(filesystem, LocalFileSystem)

    def new(self, name: str) -> NewFile:
        """Begin a file."""
        return NewFile(self, name)

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        file = self.new(name)
        try:
            file.write(content)
            file.commit()
        except BaseException:
            file.discard()
            raise

    def blocks(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes [start, end) of a file, by default all of them, in blocks of at most `BLOCK_BYTES`."""
        with storage_errors(), self._filesystem.open(self._path(name), "rb") as file:
            file.seek(start)
            left = end - start if end is not None else None
            while block := file.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left)):
                left = left - len(block) if left is not None else None
                yield block

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of a file, by default all of them."""
        return b"".join(self.blocks(name, start, end))

    def write_manifest(self, name: str, pieces: Sequence[tuple[str, int]]) -> None:
        """Write the list of files, with their bytes, that together are one file of results."""
        content = {"pieces": [{"name": piece, "bytes": size} for piece, size in pieces]}
        self.write(name, json.dumps(content).encode())

    def pieces(self, manifest: str) -> list[str]:
        """The names of the files in a manifest, in order."""
        return [piece["name"] for piece in json.loads(self.read(manifest))["pieces"]]

    def delete(self, name: str) -> None:
        """Delete a file or a folder with everything in it, if there is one."""
        with storage_errors(), suppress(FileNotFoundError):
            self._filesystem.rm(self._path(name), recursive=True)

    def sweep(self, folder: str, older_than_s: float) -> None:
        """Delete what uploads and parts left behind that never ended, in a folder of a disk, after so many seconds."""
        if self.is_local:
            with storage_errors(), suppress(FileNotFoundError):
                for path in Path(self._path(folder)).rglob(f"*{PARTIAL}"):
                    if path.stat().st_mtime < time.time() - older_than_s:
                        path.unlink()

    def free_bytes(self) -> int | None:
        """The free bytes of the disk; None in an object store."""
        with storage_errors():
            return shutil.disk_usage(self._root).free if self.is_local else None

    def open_new(self, name: str) -> IO[bytes]:
        """Open a file for writing, in a folder that is made if it is missing. Raises OSError."""
        path = self._path(name)
        if self.is_local:
            Path(self._root).mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            return cast(IO[bytes], open(path, "xb"))
        return cast(IO[bytes], self._filesystem.open(path, "wb", autocommit=False))

    def keep(self, file: Any, place: str, name: str) -> None:
        """Give a complete file its name. Raises OSError."""
        if self.is_local:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(self._path(place), self._path(name))
        else:
            file.close()
            file.commit()

    def drop(self, file: Any, place: str) -> None:
        """Forget a file that has no name yet. Raises OSError."""
        if self.is_local:
            Path(self._path(place)).unlink(missing_ok=True)
            file.close()
        else:
            file.discard()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
