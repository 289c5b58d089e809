"""Write the int8 graph of a checkpoint, `model.int8.onnx`, with scales that are calibrated in advance.

Weights have one scale per output channel, computed by ONNX Runtime's dynamic quantisation. Dynamic quantisation would
scale activations by the range of each batch, so that an item's result would depend on the other items. Here each
activation has one fixed scale, from its range over calibration inputs (Jacob et al. 2018,
https://arxiv.org/abs/1712.05877).

For a weight that is in `model.safetensors`, the graph holds only the scales: ONNX Runtime quantises the weight when it
loads the graph. So the graph takes only a few hundred kilobytes.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from pipelines.engines.choice import ONNX, Choice
from pipelines.engines.onnx_engine import OnnxEngine
from pipelines.engines.onnx_export import quiet
from pipelines.engines.onnx_weights import SAFETENSORS, inline_weights, names_in, share_weights
from pipelines.text.token_batch import TokenBatch

LEVELS = 255

Range = tuple[float, float]


def write_int8(folder: Path, calibration: Sequence[TokenBatch]) -> Path:
    """Quantise the float32 graph in `folder`; the ranges of activations come from the `calibration` batches."""
    model = inline_weights(folder / ONNX["float32"])
    quantized = _quantize_weights(model)
    dynamic = [node for node in quantized.graph.node if node.op_type == "DynamicQuantizeLinear"]
    ranges = _ranges(model, sorted({node.input[0] for node in dynamic}), calibration)
    for node in dynamic:
        _fix_scale(quantized, node, ranges[node.input[0]])
    _quantize_when_loaded(quantized, model, names_in(model, folder / SAFETENSORS))
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


def _quantize_when_loaded(quantized: onnx.ModelProto, model: onnx.ModelProto, names: set[str]) -> None:
    """Replace the int8 form of the named weights by their float32 form in `model` and a QuantizeLinear node.

    A weight stays in int8 if that node would compute different integers.
    """
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    for weight in [tensor for tensor in model.graph.initializer if f"{tensor.name}_quantized" in tensors]:
        integers, scale, zero = (tensors[f"{weight.name}_{end}"] for end in ("quantized", "scale", "zero_point"))
        if weight.name not in names or not _quantizes_to(integers, *map(numpy_helper.to_array, (weight, scale, zero))):
            continue
        inputs, output = [weight.name, scale.name, zero.name], integers.name
        quantized.graph.initializer.remove(integers)
        quantized.graph.initializer.append(weight)
        quantized.graph.node.insert(0, helper.make_node("QuantizeLinear", inputs, [output], axis=1))


def _quantizes_to(
    integers: onnx.TensorProto, weight: NDArray[np.float32], scale: NDArray[np.float32], zero: NDArray[np.int8]
) -> bool:
    """Whether QuantizeLinear (https://onnx.ai/onnx/operators), with one scale per column, gives these integers."""
    made = np.clip(np.rint(weight / scale) + zero, -128, 127)
    return np.array_equal(made, numpy_helper.to_array(integers))


def _ranges(model: onnx.ModelProto, names: list[str], calibration: Sequence[TokenBatch]) -> dict[str, Range]:
    """The lowest and highest value of each named activation; a range includes 0, which must be exact in int8."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in present
    )
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    engine = OnnxEngine(session, Choice("onnx", "cpu", "float32", threads=1, slots=1))
    ranges: dict[str, Range] = dict.fromkeys(names, (0.0, 0.0))
    for batch in calibration:
        for name, values in zip(names, engine.outputs(batch, *names), strict=True):
            ranges[name] = _widened(ranges[name], values)
    return ranges


def _widened(known: Range, values: NDArray[np.float32]) -> Range:
    low, high = known
    return min(low, float(values.min(initial=0.0))), max(high, float(values.max(initial=0.0)))


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
