"""Read the tensors of a file that `torch.save` wrote, without `torch.load`: nothing that the file names is called.

Since torch 1.6 such a file is a zip with one pickle, `data.pkl`, and one entry for each storage, a flat array of
numbers. The older format is a row of five pickles (magic number, version, machine, content, keys of storages), then the
storages themselves. The format is described in torch/serialization.py.
"""

import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointNotFound, CheckpointUnsafe
from pipelines.format.inert_pickles import InertMachine, Storage, StoredTensor
from pipelines.format.pickle_machine import Name

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PICKLE = "data.pkl"
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}


@dataclass(frozen=True, slots=True)
class TorchFile:
    """What a file contains: plain values, `StoredTensor`s, and `Inert` placeholders of classes, listed in `foreign`.

    `places` maps a storage's key to its entry in the zip, or to the position of its first byte in the file.
    """

    path: Path
    content: Any
    foreign: list[Name]
    places: Mapping[str, str | int]

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, torch.Tensor]:
        """Read these tensors; those that share a storage in the file share it in memory. Raises CheckpointDamaged."""
        flat: dict[str, torch.Tensor] = {}
        try:
            with ExitStack() as opened:
                archive = opened.enter_context(zipfile.ZipFile(self.path)) if zipfile.is_zipfile(self.path) else None
                file = opened.enter_context(self.path.open("rb"))
                for tensor in stored.values():
                    if tensor.storage.key not in flat:
                        flat[tensor.storage.key] = _read(tensor.storage, self.places, archive or file)
            return {name: _view(flat[tensor.storage.key], tensor) for name, tensor in stored.items()}
        except Exception as error:  # KeyError, BadZipFile, EOFError, RuntimeError of a view beyond its storage, ...
            raise CheckpointDamaged(str(self.path), "not a complete torch file") from error


def read_torch_file(path: Path) -> TorchFile:
    """Read what a torch file contains, but not the tensors' numbers.

    Raises CheckpointNotFound, CheckpointUnsafe if the file calls what is not inert or is a TorchScript program, and
    CheckpointDamaged if it is truncated or was not written by torch.
    """
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except IsADirectoryError as error:
        raise CheckpointDamaged(str(path), "a folder; give the file inside that torch.save wrote") from error
    except Exception as error:  # a damaged file raises IndexError, KeyError, TypeError, BadZipFile, ...
        raise CheckpointDamaged(str(path), "not a complete torch file") from error


def _read_zip(path: Path) -> TorchFile:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next(name for name in names if name.count("/") <= 1 and name.rpartition("/")[2] == PICKLE)
        root = pickled.removesuffix(PICKLE)
        if f"{root}constants.pkl" in names:
            raise CheckpointUnsafe(str(path), "a TorchScript program, not weights; save model.state_dict() instead")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise CheckpointDamaged(str(path), "written on a big-endian machine; save it on a little-endian one")
        machine = InertMachine(path)
        with archive.open(pickled) as file:
            content = machine.run(file)
    places = {key: f"{root}data/{key}" for key in machine.storages}
    return TorchFile(path, content, machine.foreign, places)


def _read_legacy(path: Path) -> TorchFile:
    with path.open("rb") as file:
        if InertMachine(path).run(file) != MAGIC_NUMBER:
            raise CheckpointDamaged(str(path), "not a file that torch.save wrote")
        _version, system = InertMachine(path).run(file), InertMachine(path).run(file)
        if not system["little_endian"]:
            raise CheckpointDamaged(str(path), "written on a big-endian machine; save it on a little-endian one")
        machine = InertMachine(path)
        content = machine.run(file)
        places: dict[str, str | int] = {}
        for key in InertMachine(path).run(file):
            file.seek(8, 1)  # the number of elements, which the pickle gives, too
            places[key] = file.tell()
            file.seek(_bytes(machine.storages[key]), 1)
    return TorchFile(path, content, machine.foreign, places)


def _bytes(storage: Storage) -> int:
    return storage.count * DTYPES[storage.kind].itemsize


def _read(storage: Storage, places: Mapping[str, str | int], source: zipfile.ZipFile | IO[bytes]) -> torch.Tensor:
    """A storage as a flat tensor. Raises EOFError if the file is too short for it."""
    place, wanted = places[storage.key], _bytes(storage)
    if isinstance(source, zipfile.ZipFile):
        numbers = source.read(str(place))
    else:
        source.seek(int(place))
        numbers = source.read(wanted)
    if len(numbers) < wanted:
        raise EOFError(storage.key)
    dtype = DTYPES[storage.kind]
    return (
        torch.frombuffer(bytearray(numbers), dtype=dtype, count=storage.count) if wanted else torch.empty(0).to(dtype)
    )


def _view(flat: torch.Tensor, stored: StoredTensor) -> torch.Tensor:
    if stored.dtype is not None:
        flat = flat.view(getattr(torch, stored.dtype))
    return torch.as_strided(flat, stored.size, stored.stride, stored.offset)
