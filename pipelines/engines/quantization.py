"""Write the int8 graph of a checkpoint, `model.int8.onnx`, with scales that are calibrated in advance.

First channels with large values are made smaller (`pipelines.engines.smoothing`). Weights have one scale per output
channel, computed by ONNX Runtime's dynamic quantisation. Dynamic quantisation would
scale activations by the range of each batch, so that an item's result would depend on the other items. Here each
activation has one fixed scale, from its range over calibration inputs (Jacob et al. 2018,
https://arxiv.org/abs/1712.05877).

For a weight that is in `model.safetensors`, the graph holds only the scales: ONNX Runtime quantises the weight when it
loads the graph. So the graph takes only a few hundred kilobytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from pipelines.engines.calibration import Range, channel_maxima, ranges
from pipelines.engines.choice import ONNX
from pipelines.engines.onnx_export import quiet
from pipelines.engines.onnx_weights import SAFETENSORS, inline_weights, names_in, share_weights
from pipelines.engines.smoothing import Factors, groups, smooth
from pipelines.text.token_batch import TokenBatch

LEVELS = 255


def write_int8(folder: Path, calibration: Sequence[TokenBatch]) -> Path:
    """Quantise the float32 graph in `folder`; the ranges of activations come from the `calibration` batches."""
    model = inline_weights(folder / ONNX["float32"])
    stored = names_in(model, folder / SAFETENSORS)
    activations = sorted({name for group in groups(model) for name in group.activations})
    factors = smooth(model, channel_maxima(model, activations, calibration))
    quantized = _quantize_weights(model)
    dynamic = [node for node in quantized.graph.node if node.op_type == "DynamicQuantizeLinear"]
    spans = ranges(model, sorted({node.input[0] for node in dynamic}), calibration)
    for node in dynamic:
        _fix_scale(quantized, node, spans[node.input[0]])
    _quantize_when_loaded(quantized, model, stored, factors)
    share_weights(quantized, folder / SAFETENSORS)
    path = folder / ONNX["int8"]
    onnx.save(quantized, path)
    return path


def _quantize_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        with quiet():
            quantize_dynamic(
                model, path, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True
            )
        return onnx.load(path)


def _quantize_when_loaded(
    quantized: onnx.ModelProto, model: onnx.ModelProto, names: set[str], factors: Mapping[str, Factors]
) -> None:
    """Replace the int8 form of the named weights by nodes that compute it from their float32 form.

    That is a QuantizeLinear node, behind a Mul node if `model` has the weight multiplied by factors. A weight stays in
    int8 if the node would compute different integers.
    """
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    for weight in [tensor for tensor in model.graph.initializer if f"{tensor.name}_quantized" in tensors]:
        integers, scale, zero = (tensors[f"{weight.name}_{end}"] for end in ("quantized", "scale", "zero_point"))
        if weight.name not in names or not _quantizes_to(integers, *map(numpy_helper.to_array, (weight, scale, zero))):
            continue
        source = _smoothed_weight(quantized.graph, weight, factors.get(weight.name))
        inputs, output = [source, scale.name, zero.name], integers.name
        quantized.graph.initializer.remove(integers)
        quantized.graph.node.insert(
            bool(source != weight.name), helper.make_node("QuantizeLinear", inputs, [output], axis=1)
        )


def _smoothed_weight(graph: onnx.GraphProto, weight: onnx.TensorProto, factors: Factors | None) -> str:
    """Add a weight as the file has it, and a node that multiplies its rows by factors. Returns the result's name."""
    if factors is None:
        graph.initializer.append(weight)
        return str(weight.name)
    rows, smoothed = factors[:, None], f"{weight.name}.smoothed"
    graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight) / rows, weight.name))
    graph.initializer.append(numpy_helper.from_array(rows, f"{weight.name}.factors"))
    graph.node.insert(0, helper.make_node("Mul", [weight.name, f"{weight.name}.factors"], [smoothed]))
    return smoothed


def _quantizes_to(
    integers: onnx.TensorProto, weight: NDArray[np.float32], scale: NDArray[np.float32], zero: NDArray[np.int8]
) -> bool:
    """Whether QuantizeLinear (https://onnx.ai/onnx/operators), with one scale per column, gives these integers."""
    made = np.clip(np.rint(weight / scale) + zero, -128, 127)
    return np.array_equal(made, numpy_helper.to_array(integers))


def _fix_scale(model: onnx.ModelProto, node: onnx.NodeProto, span: Range) -> None:
    """Replace a DynamicQuantizeLinear node by a QuantizeLinear node with constant scale and zero point."""
    low, high = span
    scale = (high - low) / LEVELS or 1.0
    quantized, scale_name, zero_name = node.output
    zero = int(np.clip(round(-low / scale), 0, LEVELS))
    model.graph.initializer.append(numpy_helper.from_array(np.array(scale, dtype=np.float32), scale_name))
    model.graph.initializer.append(numpy_helper.from_array(np.array(zero, dtype=np.uint8), zero_name))
    fixed = helper.make_node("QuantizeLinear", [node.input[0], scale_name, zero_name], [quantized], name=node.name)
    node.CopyFrom(fixed)
