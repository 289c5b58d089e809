"""Files and folders on disks and in object stores, named by path or URL."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyarrow
from pyarrow import fs

from pipelines.errors import DataNotFound

PARTIAL = ".partial"
READ_BYTES = 8 * 2**20
_OBJECT_STORES = ("s3", "gcs", "abfs")  # folders exist as soon as they hold a file


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder: a filesystem, a path on it, and its name for people."""

    filesystem: fs.FileSystem
    path: str
    name: str

    @classmethod
    def of(cls, name: str) -> Self:
        """The location of a local path, or of a URL that pyarrow or fsspec knows (`s3://`, `gs://`, `abfs://`, ...).

        Raises DataNotFound for a URL of another kind, or where the package that reads it is missing.
        """
        if "://" not in name:
            return cls(fs.LocalFileSystem(), str(Path(name).expanduser().resolve()), name)
        try:
            filesystem, path = fs.FileSystem.from_uri(name)
        except pyarrow.ArrowInvalid:
            filesystem, path = _of_fsspec(name)
        return cls(filesystem, path.rstrip("/"), name.rstrip("/"))

    def __truediv__(self, name: str) -> "Location":
        return Location(self.filesystem, f"{self.path}/{name}", f"{self.name}/{name}")

    @property
    def portable(self) -> str:
        """The URL, or the absolute path: the same on all machines that share the storage."""
        return self.name if "://" in self.name else self.path

    def info(self) -> fs.FileInfo:
        """What is there: its type, and the size of a file in bytes."""
        return self.filesystem.get_file_info(self.path)

    def names(self) -> list[str]:
        """The names of the files directly in this folder, sorted; none if there is no such folder."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def read(self) -> bytes:
        """The whole content of a file. Raises OSError."""
        with self.filesystem.open_input_file(self.path) as stream:
            content: bytes = stream.readall()
            return content

    def read_range(self, start: int, end: int) -> bytes:
        """The bytes [start, end) of a file; fewer if it ends before. Raises OSError."""
        with self.filesystem.open_input_file(self.path) as stream:
            content: bytes = stream.read_at(end - start, start)
            return content

    def blocks(self) -> Iterator[bytes]:
        """The content of a file, block by block. Raises OSError."""
        with self.filesystem.open_input_file(self.path) as stream:
            while block := stream.read(READ_BYTES):
                yield block

    def make_folder(self) -> None:
        """Make this folder, unless the storage has no folders. Raises OSError."""
        if self.filesystem.type_name not in _OBJECT_STORES:
            self.filesystem.create_dir(self.path, recursive=True)

    def write(self, content: bytes) -> None:
        """Write a file, as `replacing` does."""
        with self.replacing() as stream:
            stream.write(content)

    def delete(self) -> None:
        """Delete a file. Raises OSError."""
        self.filesystem.delete_file(self.path)

    @contextmanager
    def replacing(self) -> Iterator[IO[bytes]]:
        """Yield a stream for a new file, which takes this place, as a whole, when the context is left without an error.

        Until then the file has a name that ends in `PARTIAL` and is never used twice. Raises OSError.
        """
        folder, _, name = self.path.rpartition("/")
        partial = f"{folder}/_{name}.{uuid.uuid4().hex}{PARTIAL}"
        with self.filesystem.open_output_stream(partial) as stream:
            yield stream
        if isinstance(self.filesystem, fs.LocalFileSystem):
            _reach_disk(partial)
        self.filesystem.move(partial, self.path)


def _of_fsspec(name: str) -> tuple[fs.FileSystem, str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(name)
    except (ValueError, ImportError) as error:
        raise DataNotFound(name, f"this kind of URL can't be read: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(path)


def _reach_disk(path: Any) -> None:
    """Wait until the content of a file is on the disk, so that it is not lost where its new name is kept."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
