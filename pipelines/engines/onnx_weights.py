"""ONNX graphs that read their weights from the checkpoint's `model.safetensors`, so that no weight is stored twice.

The graphs compute in float32. Weights that the file stores in 16 bits are read as they are and converted by the graph.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SAFETENSORS = "model.safetensors"
SMALLEST_SHARED = 4096  # bytes, in float32
TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}
HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


@dataclass(frozen=True, slots=True)
class _Place:
    """The place and type of a tensor in a safetensors file, and whether the graph needs its transpose."""

    offset: int
    length: int
    shape: tuple[int, ...]
    type: int
    transposed: bool


def share_weights(model: onnx.ModelProto, weights: Path) -> None:
    """Replace float32 initialisers by references to the `weights` file if it holds their values or their transpose.

    ONNX calls this external data (https://onnx.ai/onnx/repo-docs/ExternalData.html): a file, an offset, a length. Cast
    and Transpose nodes are added if the file holds a tensor in 16 bits or transposed.
    """
    for tensor, place in _shareable(model.graph, weights):
        if place.transposed:
            _compute_from(model.graph, tensor, "transposed", "Transpose", perm=[1, 0])
        if place.type in HALVES and not _widen_rows(model.graph, tensor.name):
            _compute_from(model.graph, tensor, "half", "Cast", to=TensorProto.FLOAT)
        _refer(tensor, weights.name, place)


def names_in(model: onnx.ModelProto, weights: Path) -> set[str]:
    """Names of the initialisers that `share_weights` would replace by references."""
    return {tensor.name for tensor, _place in _shareable(model.graph, weights)}


def inline_weights(path: Path) -> onnx.ModelProto:
    """Load the graph at `path` with its weights inside, as it was before `share_weights`."""
    model = onnx.load(path)
    _take_casts_out(model.graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in weights]:
        tensor = weights[node.input[0]]
        transposed = np.ascontiguousarray(np.transpose(numpy_helper.to_array(tensor), node.attribute[0].ints))
        tensor.CopyFrom(numpy_helper.from_array(transposed, node.output[0]))
        model.graph.node.remove(node)
    return model


def _shareable(graph: onnx.GraphProto, weights: Path) -> list[tuple[TensorProto, _Place]]:
    """The large float32 initialisers whose values are in the file, with their places; empty if there is no file."""
    places = _places(weights) if weights.is_file() else {}
    tensors = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= SMALLEST_SHARED
    ]
    found = [(tensor, places.get(_digest(numpy_helper.to_array(tensor)))) for tensor in tensors]
    return [(tensor, place) for tensor, place in found if place is not None]


def _compute_from(graph: onnx.GraphProto, tensor: TensorProto, state: str, operator: str, **attributes: Any) -> None:
    """Rename the tensor to `<name>.<state>` and add a node that computes the original tensor from it."""
    source = f"{tensor.name}.{state}"
    graph.node.insert(0, helper.make_node(operator, [source], [tensor.name], **attributes))
    tensor.name = source


def _widen_rows(graph: onnx.GraphProto, table: str) -> bool:
    """Convert the rows that Gather nodes read from a table, so that the whole table is never held in float32.

    Does nothing and returns False if other nodes use the table too.
    """
    users = [node for node in graph.node if table in node.input]
    if not users or not all(node.op_type == "Gather" and node.input[0] == table for node in users):
        return False
    for node in users:
        rows = node.output[0]
        node.output[0] = f"{rows}.half"
        cast = helper.make_node("Cast", [node.output[0]], [rows], to=TensorProto.FLOAT)
        graph.node.insert(list(graph.node).index(node) + 1, cast)
    return True


def _take_casts_out(graph: onnx.GraphProto) -> None:
    """Convert 16-bit weights to float32 and remove the nodes that cast them."""
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in HALVES}
    gathers = {node.output[0]: node for node in graph.node if node.op_type == "Gather" and node.input[0] in halves}
    for cast in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in {*halves, *gathers}]:
        source, result = cast.input[0], cast.output[0]
        if source in gathers:
            gathers[source].output[0] = result
        else:
            halves[source].name = result
        graph.node.remove(cast)
    for tensor in halves.values():
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _refer(tensor: TensorProto, file: str, place: _Place) -> None:
    tensor.ClearField("raw_data")
    tensor.data_type = place.type
    tensor.dims[:] = place.shape
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": file, "offset": str(place.offset), "length": str(place.length)}.items():
        tensor.external_data.add(key=key, value=value)


def _places(weights: Path) -> Mapping[bytes, _Place]:
    """The places of the file's tensors of `TYPES`, by the digest of their values in float32.

    A matrix is also found by the digest of its transpose. This parses the file by the definition of its format
    (https://github.com/huggingface/safetensors#format), because the library gives no offsets.
    """
    places: dict[bytes, _Place] = {}
    with weights.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] not in TYPES:
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            values = _in_float32(file.read(end - begin), entry["dtype"]).reshape(entry["shape"])
            place = partial(_Place, 8 + size + begin, end - begin, values.shape, TYPES[entry["dtype"]])
            if values.ndim == 2:
                places[_digest(values.T)] = place(transposed=True)
            places[_digest(values)] = place(transposed=False)
    return places


def _in_float32(content: bytes, dtype: str) -> NDArray[np.float32]:
    """Decode bytes of a safetensors dtype. NumPy has no bfloat16; it is the upper half of a float32."""
    if dtype == "BF16":
        return (np.frombuffer(content, dtype="<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(content, dtype={"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32, copy=False)


def _digest(values: NDArray[np.generic]) -> bytes:
    """SHA-256 of the values and their shape."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values).tobytes()).digest()
