"""ONNX graphs that read their weights from the checkpoint's own `model.safetensors`, so that none are there twice.

The graphs compute in float32. Weights that the file holds in half as many bits are read as they are, and widened.
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
WORTH_SHARING = 4096  # bytes, in float32
TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}
HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor stands in a safetensors file, as what type, and whether the graph wants it transposed."""

    offset: int
    length: int
    shape: tuple[int, ...]
    type: int
    transposed: bool


def share_weights(model: onnx.ModelProto, weights: Path) -> None:
    """Replace float32 initialisers whose values stand in the `weights` file, as they are or transposed, by references
    to it.

    ONNX calls that external data (https://onnx.ai/onnx/repo-docs/ExternalData.html): a file, an offset, a length.
    Behind a reference come the nodes that make of what stands there what the graph wants: Cast, Transpose.
    """
    for tensor, place in _found(model.graph, weights):
        if place.transposed:
            _compute_from(model.graph, tensor, "transposed", "Transpose", perm=[1, 0])
        if place.type in HALVES and not _widen_rows(model.graph, tensor.name):
            _compute_from(model.graph, tensor, "half", "Cast", to=TensorProto.FLOAT)
        _refer(tensor, weights.name, place)


def names_in(model: onnx.ModelProto, weights: Path) -> set[str]:
    """Names of the initialisers that `share_weights` would share."""
    return {tensor.name for tensor, _place in _found(model.graph, weights)}


def inline_weights(path: Path) -> onnx.ModelProto:
    """The graph at `path` with its weights in it, as it was before `share_weights`."""
    model = onnx.load(path)
    _take_casts_out(model.graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in weights]:
        tensor = weights[node.input[0]]
        turned = np.ascontiguousarray(np.transpose(numpy_helper.to_array(tensor), node.attribute[0].ints))
        tensor.CopyFrom(numpy_helper.from_array(turned, node.output[0]))
        model.graph.node.remove(node)
    return model


def _found(graph: onnx.GraphProto, weights: Path) -> list[tuple[TensorProto, _Place]]:
    """The float32 initialisers worth sharing that stand in the file, and where; none where there is no such file."""
    places = _places(weights) if weights.is_file() else {}
    tensors = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= WORTH_SHARING
    ]
    found = [(tensor, places.get(_digest(numpy_helper.to_array(tensor)))) for tensor in tensors]
    return [(tensor, place) for tensor, place in found if place is not None]


def _compute_from(graph: onnx.GraphProto, tensor: TensorProto, state: str, operator: str, **attributes: Any) -> None:
    """Let a node compute what the tensor was from what it will be, under its own name with `state` behind."""
    source = f"{tensor.name}.{state}"
    graph.node.insert(0, helper.make_node(operator, [source], [tensor.name], **attributes))
    tensor.name = source


def _widen_rows(graph: onnx.GraphProto, table: str) -> bool:
    """Widen the rows that Gather nodes take out of the table, so that the whole of it is never held in float32.

    False, and nothing is done, where other nodes use the table, too.
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
    """Undo what widens weights: those of half the bits become float32, and the nodes that cast them go."""
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
    """The file's tensors of `TYPES` by the digest of their values in float32, matrices under their transpose's, too.

    Read by the format's definition (https://github.com/huggingface/safetensors#format): the library gives no offsets.
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
    """The numbers that the bytes are in a safetensors dtype: NumPy has no bfloat16, float32's upper half."""
    if dtype == "BF16":
        return (np.frombuffer(content, dtype="<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(content, dtype={"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32, copy=False)


def _digest(values: NDArray[np.generic]) -> bytes:
    """Of the values and their shape."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values).tobytes()).digest()
