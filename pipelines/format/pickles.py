"""Read pickled weights safely: always with `weights_only=True`."""

import argparse
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsafe

PICKLED = "pytorch_model*.bin"


# Lightning files pickle hyperparameters and callback classes beside the weights. Each of these class names is mapped to
# a plain OrderedDict, because torch fills no mapping except dict, OrderedDict and Counter. No code of Lightning or of
# the file runs.
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
    """Load a torch pickle to the CPU.

    Raises CheckpointNotFound, CheckpointUnsafe if it contains anything but tensors and plain data, and
    CheckpointDamaged if it is truncated.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_LIGHTNING]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointUnsafe(str(path), "holds more than tensors and plain data, or is not a torch file") from error
    except Exception as error:  # a damaged pickle makes the unpickler raise KeyError, IndexError, struct.error, ...
        raise CheckpointDamaged(str(path), "not a complete torch file") from error


def refuse_unsafe_pickles(folder: Path) -> None:
    """Read every file of `folder` that a library would unpickle as weights. Raises the errors of `read_pickle`.

    The files `training_args.bin` (of a Trainer) and `openvino_model.bin` are not read: no code here opens them.
    """
    for path in sorted(folder.rglob(PICKLED)):
        read_pickle(path)
