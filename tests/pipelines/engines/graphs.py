"""Make small ONNX graphs with one output, `y`."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Inputs = Mapping[str, tuple[int, list[object]]]
"""The type and the shape of each input."""


def model_of(
    nodes: list[NodeProto], constants: Mapping[str, NDArray[np.generic]], inputs: Inputs, *, opset: int = 20
) -> ModelProto:
    """A model of these nodes and constants."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    taken = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    graph = helper.make_graph(nodes, "tested", taken, [onnx.ValueInfoProto(name="y")], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def change(nodes: Iterable[NodeProto], changes: Mapping[str, object]) -> None:
    """Change nodes by their outputs: a list replaces the inputs of a node, a dict its attributes."""
    for node in nodes:
        wanted = changes.get(node.output[0])
        if isinstance(wanted, list):
            node.input[:] = wanted
        elif isinstance(wanted, dict):
            del node.attribute[:]
            node.attribute.extend(helper.make_attribute(name, value) for name, value in wanted.items())
