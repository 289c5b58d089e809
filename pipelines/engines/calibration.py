"""Run a float32 graph on calibration inputs, and summarise its activations."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from pipelines.engines.choice import Choice
from pipelines.engines.onnx_engine import OnnxEngine
from pipelines.text.token_batch import TokenBatch

Activation = NDArray[np.float32]
Range = tuple[float, float]


def ranges(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[TokenBatch]) -> dict[str, Range]:
    """The lowest and highest value of each named activation; a range includes 0, which must be exact in int8."""
    found: dict[str, Range] = dict.fromkeys(names, (0.0, 0.0))
    for name, values in _activations(model, names, batches):
        low, high = found[name]
        found[name] = min(low, float(values.min(initial=0.0))), max(high, float(values.max(initial=0.0)))
    return found


def channel_maxima(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[TokenBatch]
) -> dict[str, Activation]:
    """The largest absolute value in each channel (the last dimension) of each named activation."""
    found: dict[str, Activation] = {}
    for name, values in _activations(model, names, batches):
        maxima = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
        found[name] = np.maximum(found.get(name, maxima), maxima)
    return found


def _activations(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[TokenBatch]
) -> Iterator[tuple[str, Activation]]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in present
    )
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    engine = OnnxEngine(session, Choice("onnx", "cpu", "float32", threads=1, slots=1))
    for batch in batches:
        yield from zip(names, engine.outputs(batch, *names), strict=True)
