"""Read pickled weights safely: always with `weights_only=True`.

Libraries read the same files again with the same setting, so nothing more is tolerated here. `torch_files` reads files
that only this project reads, and is not stopped by settings and other inert objects beside the weights.
"""

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointNotFound, CheckpointUnsafe
from pipelines.format.inert_pickles import whole_object
from pipelines.format.pickle_machine import Inert
from pipelines.format.torch_files import read_torch_file

PICKLED = "pytorch_model*.bin"


def read_pickle(path: Path) -> Any:
    """Load a torch pickle to the CPU.

    Raises CheckpointNotFound, CheckpointUnsafe if it contains anything but tensors and plain data, and
    CheckpointDamaged if it is truncated.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointUnsafe(str(path), _foreign(path)) from error
    except Exception as error:  # a damaged pickle makes the unpickler raise KeyError, IndexError, struct.error, ...
        raise CheckpointDamaged(str(path), "not a complete torch file") from error


def _foreign(path: Path) -> str:
    """Which class or call makes a file unsafe to read, found by a reader that calls nothing."""
    try:
        found = read_torch_file(path)
    except CheckpointError as error:
        return error.why
    if isinstance(found.content, Inert):
        return whole_object(found.content.kind)
    names = ", ".join(dict.fromkeys(map(str, found.foreign)))
    return f"holds more than tensors and plain data: {names or 'instructions'}; save only the weights, as safetensors"


def refuse_unsafe_pickles(folder: Path) -> None:
    """Read every file of `folder` that a library would unpickle as weights. Raises the errors of `read_pickle`.

    The files `training_args.bin` (of a Trainer) and `openvino_model.bin` are not read: no code here opens them.
    """
    for path in sorted(folder.rglob(PICKLED)):
        read_pickle(path)
