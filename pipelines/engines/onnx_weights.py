"""ONNX graphs that read their weights from the checkpoint's own `model.safetensors`, so that none are there twice."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

SAFETENSORS = "model.safetensors"
WORTH_SHARING = 4096  # bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's bytes stand in a safetensors file, and whether the graph wants it transposed."""

    offset: int
    length: int
    shape: tuple[int, ...]
    transposed: bool


def share_weights(model: onnx.ModelProto, weights: Path) -> None:
    """Replace initialisers that stand in the `weights` file, as they are or transposed, by references to it.

    ONNX calls that external data (https://onnx.ai/onnx/repo-docs/ExternalData.html): a file, an offset, a length.
    """
    if not weights.is_file():
        return
    places = _places(weights)
    for tensor in list(model.graph.initializer):
        place = places.get(_digest(numpy_helper.to_array(tensor))) if len(tensor.raw_data) >= WORTH_SHARING else None
        if place is None:
            continue
        if place.transposed:
            source = f"{tensor.name}.transposed"
            model.graph.node.insert(0, helper.make_node("Transpose", [source], [tensor.name], perm=[1, 0]))
            tensor.name = source
            tensor.dims[:] = place.shape
        _refer(tensor, weights.name, place)


def _refer(tensor: onnx.TensorProto, file: str, place: _Place) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": file, "offset": str(place.offset), "length": str(place.length)}.items():
        tensor.external_data.add(key=key, value=value)


def _places(weights: Path) -> Mapping[bytes, _Place]:
    """The file's float32 tensors by digest, matrices under that of their transpose too.

    Read by the format's definition (https://github.com/huggingface/safetensors#format): the library gives no offsets.
    """
    places: dict[bytes, _Place] = {}
    with weights.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F32":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            values = np.frombuffer(file.read(end - begin), dtype="<f4").reshape(entry["shape"])
            if values.ndim == 2:
                places[_digest(values.T)] = _Place(8 + size + begin, end - begin, values.shape, transposed=True)
            places[_digest(values)] = _Place(8 + size + begin, end - begin, values.shape, transposed=False)
    return places


def _digest(values: NDArray[np.generic]) -> bytes:
    """Of the values and their shape."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values).tobytes()).digest()
