"""Loading with transformers, refusing what it would patch over."""

import argparse
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointNotFound, CheckpointUnsafe


def load_transformers(model_class: Any, folder: Path, *, pickled: bool = False, may_lack: str | None = None) -> Any:
    """`model_class.from_pretrained(folder)` from safetensors, or, with `pickled`, from a pickle where there are none.

    Its weights are float32, whatever they are stored as.

    Raises CheckpointDamaged where files are cut, where shapes do not fit the config, or where weights are missing,
    which transformers would fill with random numbers and a warning; save those whose names begin with `may_lack`, a
    part of the model that is then taken out of it.
    """
    with refusing_damage(folder):
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=None if pickled else True,
            dtype="float32",
            output_loading_info=True,
        )
    missing = [key for key in report["missing_keys"] if may_lack is None or not key.startswith(may_lack)]
    if missing:
        raise CheckpointDamaged(str(folder), f"its weights lack {', '.join(sorted(missing)[:3])}")
    if may_lack is not None and report["missing_keys"]:
        setattr(model, may_lack.removesuffix("."), None)
    return model


@contextmanager
def refusing_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises on files it can't read into CheckpointDamaged, naming the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise KeyError, OSError, RuntimeError, SafetensorError, ...
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointDamaged(str(folder), why[0]) from error


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
