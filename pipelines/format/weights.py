"""The number format in which a checkpoint stores its weights: float32, float16 or bfloat16."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import nn

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.pickles import PICKLED, read_pickle

Weights = Literal["float32", "float16", "bfloat16"]
HALVES: Mapping[torch.dtype, Weights] = {torch.float16: "float16", torch.bfloat16: "bfloat16"}
SAFETENSORS_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def stored_as(folder: Path) -> Weights:
    """The number format of the weights in a folder; if tensors differ, the `narrowest` format for all of them.

    Raises CheckpointDamaged.
    """
    with refusing_damage(folder):
        return narrowest(dtype for path in _files(folder) for dtype in _dtypes(path))


def narrowest(dtypes: Iterable[torch.dtype]) -> Weights:
    """A format that holds the numbers of all these dtypes; 16-bit only if it is the only floating-point dtype."""
    floats = {dtype for dtype in dtypes if dtype.is_floating_point}
    return HALVES.get(floats.pop(), "float32") if len(floats) == 1 else "float32"


def store_as(model: nn.Module, weights: Weights, source: Path) -> None:
    """Convert the model's weights to a format, in which they are then saved.

    Raises CheckpointUnsupported, naming the weight, if a number is too large for the format and would become infinite.
    """
    dtype = getattr(torch, weights)
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not torch.equal(values.isfinite(), values.to(dtype).isfinite()):
            raise CheckpointUnsupported(str(source), f"{name} holds numbers beyond the range of {weights}")
    model.to(dtype)


def _files(folder: Path) -> Iterator[Path]:
    """The files from which a library reads weights: pickles only in folders without safetensors."""
    safe = sorted(folder.rglob("*.safetensors"))
    yield from safe
    folders = {path.parent for path in safe}
    yield from (path for path in sorted(folder.rglob(PICKLED)) if path.parent not in folders)


def _dtypes(path: Path) -> Iterator[torch.dtype]:
    """The dtypes of the tensors in a file; integer dtypes may be left out."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            names = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118  not a mapping
        yield from (SAFETENSORS_DTYPES[name] for name in names if name in SAFETENSORS_DTYPES)
    else:
        content: Mapping[str, Any] = read_pickle(path)
        yield from (value.dtype for value in content.values() if isinstance(value, torch.Tensor))
