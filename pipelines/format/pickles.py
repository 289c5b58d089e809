"""Pickled weights, read with `weights_only=True` and nothing else, ever."""

import argparse
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsafe

PICKLED = "pytorch_model*.bin"


# Lightning pickles its hyperparameters, and callbacks by class, beside the weights. Only the names are taken over:
# the unpickler finds a plain OrderedDict under each (torch fills no other mapping but dict and Counter), and no code
# of Lightning's, or of the file's, runs.
_LIGHTNING = [
    (OrderedDict, f"{package}.{name}")
    for package in ("pytorch_lightning", "lightning.pytorch")
    for name in (
        "utilities.parsing.AttributeDict",
        "callbacks.model_checkpoint.ModelCheckpoint",
        "callbacks.early_stopping.EarlyStopping",
    )
] + [
    (OrderedDict, "lightning_fabric.utilities.data.AttributeDict"),
    (OrderedDict, "lightning.fabric.utilities.data.AttributeDict"),
]


def read_pickle(path: Path) -> Any:
    """What a torch pickle at `path` holds, on the CPU.

    Raises CheckpointNotFound, CheckpointUnsafe where it names anything but tensors and plain data, CheckpointDamaged
    where it is cut.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_LIGHTNING]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointUnsafe(str(path), "holds more than tensors and plain data, or is no torch file") from error
    except Exception as error:  # a damaged pickle makes the unpickler raise KeyError, IndexError, struct.error, ...
        raise CheckpointDamaged(str(path), "not a whole torch file") from error


def refuse_unsafe_pickles(folder: Path) -> None:
    """Read every file of `folder` that a library would unpickle for weights; raises as `read_pickle`.

    A Trainer's `training_args.bin` is none of them, nor is OpenVINO's `openvino_model.bin`: nothing here opens these.
    """
    for path in sorted(folder.rglob(PICKLED)):
        read_pickle(path)
