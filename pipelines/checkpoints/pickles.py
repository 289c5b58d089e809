"""Pickled weights, read with `weights_only=True` and nothing else, ever."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointUnsafe


class _Inert(dict[str, Any]):
    """Stands in for the classes that Lightning leaves in its files. It holds data and does nothing."""

    def __setstate__(self, state: object) -> None:
        """Ignore what the original class would have restored."""


# Lightning pickles its hyperparameters, and callbacks by class, beside the weights. Only the names are taken over:
# the unpickler finds the stand-in above, and no code of Lightning's, or of the file's, runs.
_LIGHTNING = [
    (_Inert, f"{package}.{name}")
    for package in ("pytorch_lightning", "lightning.pytorch")
    for name in (
        "utilities.parsing.AttributeDict",
        "callbacks.model_checkpoint.ModelCheckpoint",
        "callbacks.early_stopping.EarlyStopping",
    )
] + [
    (_Inert, "lightning_fabric.utilities.data.AttributeDict"),
    (_Inert, "lightning.fabric.utilities.data.AttributeDict"),
]


def read_pickle(path: Path) -> Any:
    """What a torch pickle at `path` holds, on the CPU.

    Raises CheckpointUnsafe where it names anything but tensors and plain data, CheckpointDamaged where it is cut.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_LIGHTNING]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointUnsafe(str(path), "a pickle with more in it than tensors and plain data") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointDamaged(str(path), "not a whole torch file") from error


def refuse_unsafe_pickles(folder: Path) -> None:
    """Read every weight file of `folder` that a library would unpickle; raises as `read_pickle`."""
    for path in sorted(folder.rglob("*.bin")):
        read_pickle(path)
