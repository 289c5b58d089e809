from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipelines.engines.choice import Choice, multiplies_int8
from pipelines.engines.onnx_engine import PAD_ID, OnnxEngine
from pipelines.engines.onnx_export import write_onnx
from pipelines.engines.quantization import write_int8
from pipelines.format.manifest import read_manifest
from pipelines.text.token_batch import CheckpointRef, TokenBatch
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_weights
from tests.pipelines.engines.batches import items_of, random_batch

FLOAT32 = Choice("onnx", "cpu", "float32", threads=1, slots=1)
INT8 = Choice("onnx", "cpu", "int8", threads=1, slots=1)
VOCABULARY = 100
WEIGHT = 0.5
"""int8 represents this weight exactly, so that only activations are rounded."""


@pytest.fixture(scope="module")
def folder(imported: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with its int8 graph, calibrated on 60 items."""
    folder = copy(imported("classifier"), tmp_path_factory.mktemp("quantized") / "classifier")
    write_int8(folder, calibration())
    return folder


def calibration() -> list[TokenBatch]:
    return [random_batch([2 + seed], VOCABULARY, seed) for seed in range(60)]


def logits(folder: Path, choice: Choice, batch: TokenBatch) -> NDArray[np.float32]:
    return OnnxEngine.load(folder, choice).outputs(batch, "logits")[0]


def test_every_activation_has_a_constant_scale(folder: Path) -> None:
    graph = onnx.load(folder / "model.int8.onnx", load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    assert counts["DynamicQuantizeLinear"] == 0
    assert counts["MatMulInteger"] >= 12  # two layers of six products
    constants = {tensor.name for tensor in graph.initializer}
    quantized = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantized) > counts["MatMulInteger"]  # nodes for weights and for activations
    assert all(set(node.input[1:]) <= constants for node in quantized)


def test_a_channel_with_large_values_does_not_hide_the_others(tmp_path: Path) -> None:
    """One channel has 400 times the values of the other seven, and a weight of 0."""
    engine = linear(tmp_path, shift=0, calibrated_on=list(range(101)), features=8, large=400)
    assert outputs(engine, 10, 50, 100) == pytest.approx([7 * WEIGHT * one for one in (10, 50, 100)], rel=0.03)


def test_float32_weights_are_read_from_the_weights_file(folder: Path) -> None:
    graph = onnx.load(folder / "model.int8.onnx", load_external_data=False).graph
    assert any(tensor.external_data for tensor in graph.initializer)
    assert max(len(tensor.raw_data) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT) < 4096


def test_weights_quantized_at_load_time_equal_weights_stored_in_int8(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batch = random_batch([3, 20, 9], VOCABULARY, 5)
    holding = copy(folder, tmp_path / "holding")
    monkeypatch.setattr("pipelines.engines.quantization.names_in", lambda _model, _weights: set())
    write_int8(holding, calibration())
    graphs = [onnx.load(one / "model.int8.onnx", load_external_data=False).graph for one in (folder, holding)]
    held = [sum(t.data_type == TensorProto.INT8 and len(t.dims) == 2 for t in g.initializer) for g in graphs]
    assert held[1] - held[0] >= 12  # two layers of six products
    np.testing.assert_array_equal(logits(folder, INT8, batch), logits(holding, INT8, batch))


def test_int8_does_not_depend_on_whether_weights_are_stored_in_16_or_32_bits(
    imported: MakeCheckpoint, tmp_path: Path
) -> None:
    half, whole = (copy(imported("classifier in float16"), tmp_path / name) for name in ("half", "whole"))
    edit_weights(whole, lambda weights: weights.update({name: value.float() for name, value in weights.items()}))
    write_onnx(whole, read_manifest(whole))
    paths = [write_int8(folder, calibration()) for folder in (half, whole)]
    graph = onnx.load(paths[0], load_external_data=False).graph
    assert any(tensor.external_data for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16)
    assert max(len(tensor.raw_data) for tensor in graph.initializer) < 4096
    assert abs(paths[0].stat().st_size - paths[1].stat().st_size) < 1000
    batch = random_batch([3, 20, 9], VOCABULARY, 5)
    for choice in (FLOAT32, INT8):
        np.testing.assert_array_equal(logits(half, choice, batch), logits(whole, choice, batch))


def test_int8_is_close_to_float32_on_the_calibration_inputs(folder: Path) -> None:
    batch = TokenBatch.take([(one, 0) for one in calibration()])
    exact, rough = (logits(folder, choice, batch) for choice in (FLOAT32, INT8))
    assert not np.array_equal(exact, rough)
    assert np.abs(rough - exact).mean() < 0.05 * exact.std()
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.99


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 999))
def test_a_result_does_not_depend_on_the_rest_of_the_batch(folder: Path, lengths: list[int], seed: int) -> None:
    engine = OnnxEngine.load(folder, INT8)
    batch = random_batch(lengths, VOCABULARY, seed)
    together = engine.outputs(batch, "logits")[0]
    alone = np.concatenate([engine.outputs(item, "logits")[0] for item in items_of(batch)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_the_same_calibration_gives_the_same_bytes(folder: Path, imported: MakeCheckpoint, tmp_path: Path) -> None:
    again = copy(imported("classifier"), tmp_path / "again")
    assert write_int8(again, calibration()).read_bytes() == (folder / "model.int8.onnx").read_bytes()


def linear(folder: Path, *, shift: float, calibrated_on: list[int], features: int = 1, large: float = 1) -> OnnxEngine:
    """An int8 engine that computes features * (id - shift) * `WEIGHT` for each token, as a sum of products.

    If `large` is not 1, the first channel is multiplied by it, and its weight is 0.
    """
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["ids", "shift"], ["shifted"]),
        helper.make_node("Unsqueeze", ["shifted", "last"], ["one"]),
        helper.make_node("Mul", ["one", "ones"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
    ]
    ones, weight = np.ones(features, dtype=np.float32), np.full((features, 1), WEIGHT, dtype=np.float32)
    if large != 1:
        ones[0], weight[0] = large, 0
    constants = {"shift": np.float32(shift), "last": np.array([2]), "ones": ones, "weight": weight}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["items", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["items", "tokens", 1])
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "linear", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {PAD_ID: "0"})
    onnx.save(model, folder / "model.onnx")
    write_int8(folder, [ids_of(calibrated_on)])
    return OnnxEngine.load(folder, INT8)


@pytest.mark.parametrize("dot_products", [False, multiplies_int8()])
def test_sums_of_the_largest_products_do_not_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dot_products: bool
) -> None:
    """Two products of 255 and 127 are more than 16 bits hold."""
    monkeypatch.setattr("pipelines.engines.onnx_engine.multiplies_int8", lambda: dot_products)
    engine = linear(tmp_path, shift=0, calibrated_on=[0, 255], features=64)
    assert outputs(engine, 255) == pytest.approx([64 * WEIGHT * 255])


def ids_of(ids: list[int]) -> TokenBatch:
    flat, one = np.array(ids, dtype=np.int32), np.zeros(1, dtype=np.bool_)
    return TokenBatch(
        CheckpointRef("", "classifier", 0.5), flat, np.zeros(len(ids), np.uint8), np.array([len(ids)], np.int32), one
    )


def outputs(engine: OnnxEngine, *ids: int) -> list[float]:
    values: list[float] = engine.outputs(ids_of(list(ids)), "logits")[0][0, :, 0].tolist()
    return values


def test_values_beyond_the_calibrated_range_saturate(tmp_path: Path) -> None:
    engine = linear(tmp_path, shift=100, calibrated_on=[0, 200])
    lowest, highest = outputs(engine, 0, 200)
    assert (lowest, highest) == pytest.approx((-50, 50), abs=0.3)
    assert outputs(engine, 201, 300, 456, 10**6) == [highest] * 4
    assert outputs(engine, -1, -56, -(10**6)) == [lowest] * 3


def test_within_the_range_the_error_is_at_most_half_a_step(tmp_path: Path) -> None:
    engine = linear(tmp_path, shift=100, calibrated_on=[0, 200])
    half_a_step = 200 / 255 / 2
    expected = WEIGHT * (np.arange(1, 200) - 100)  # not the ends, where rounding of the zero point adds an error
    np.testing.assert_allclose(outputs(engine, *range(1, 200)), expected, rtol=0, atol=WEIGHT * half_a_step + 1e-4)


@pytest.mark.parametrize(("calibrated_on", "shift"), [([100, 110], 0), ([0, 10], 200), ([0, 37], 5)])
def test_zero_stays_zero_even_if_no_calibration_value_is_zero(
    tmp_path: Path, calibrated_on: list[int], shift: int
) -> None:
    assert outputs(linear(tmp_path, shift=shift, calibrated_on=calibrated_on), shift) == [0]


def test_activations_that_are_always_zero_in_calibration_give_finite_results(tmp_path: Path) -> None:
    assert np.isfinite(outputs(linear(tmp_path, shift=0, calibrated_on=[0]), 0, 5)).all()


def test_an_outlier_in_the_batch_does_not_change_the_other_results(tmp_path: Path) -> None:
    engine = linear(tmp_path, shift=0, calibrated_on=[0, 100])
    alone = [outputs(engine, value)[0] for value in (10, 20, 30)]
    assert outputs(engine, 10, 20, 30, 10**6)[:3] == alone
    assert len(set(alone)) == 3
