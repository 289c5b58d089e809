"""What a checkpoint's weights are stored as: float32, or half as many bits, on disk and in memory that is mapped."""

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
    """What the weights of a library's folder are stored as; `narrowest` of them, where they differ.

    Raises CheckpointDamaged.
    """
    with refusing_damage(folder):
        return narrowest(dtype for path in _files(folder) for dtype in _dtypes(path))


def narrowest(dtypes: Iterable[torch.dtype]) -> Weights:
    """What holds floating-point numbers of all these dtypes: one of half the bits only where there is no other."""
    floats = {dtype for dtype in dtypes if dtype.is_floating_point}
    return HALVES.get(floats.pop(), "float32") if len(floats) == 1 else "float32"


def store_as(model: nn.Module, weights: Weights, source: Path) -> None:
    """Round the model's weights, so that whatever saves it stores them so.

    Raises CheckpointUnsupported, naming the weight, where one is too large: it would become infinite.
    """
    dtype = getattr(torch, weights)
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not torch.equal(values.isfinite(), values.to(dtype).isfinite()):
            raise CheckpointUnsupported(str(source), f"{name} holds numbers beyond the range of {weights}")
    model.to(dtype)


def _files(folder: Path) -> Iterator[Path]:
    """Those that a library reads weights from: pickles only where there are no safetensors beside them."""
    safe = sorted(folder.rglob("*.safetensors"))
    yield from safe
    read = {path.parent for path in safe}
    yield from (path for path in sorted(folder.rglob(PICKLED)) if path.parent not in read)


def _dtypes(path: Path) -> Iterator[torch.dtype]:
    """Of the tensors in a file; integers may be left out."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            names = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118  it is no mapping
        yield from (SAFETENSORS_DTYPES[name] for name in names if name in SAFETENSORS_DTYPES)
    else:
        content: Mapping[str, Any] = read_pickle(path)
        yield from (value.dtype for value in content.values() if isinstance(value, torch.Tensor))
