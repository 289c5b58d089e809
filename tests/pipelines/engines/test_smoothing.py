import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipelines.engines.smoothing import groups, smooth

Array = NDArray[np.float32]
RANDOM = np.random.default_rng(0)


def model_of(nodes: list[onnx.NodeProto], weights: dict[str, Array], outputs: list[str]) -> onnx.ModelProto:
    """A graph whose input `x` has as many channels as the first weight has rows."""
    rows = next(iter(weights.values())).shape[0]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["items", rows])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def product(activation: str, weight: str, output: str) -> onnx.NodeProto:
    return helper.make_node("MatMul", [activation, weight], [output])


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, {"x": x})
    return found


def normal(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def weight_of(model: onnx.ModelProto, name: str) -> Array:
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    return numpy_helper.to_array(tensor)


@pytest.fixture
def shared() -> onnx.ModelProto:
    """Query and key read the same activation, and a second layer has the weights of the first, as in ALBERT."""
    nodes = [product("x", "query", "q"), product("x", "key", "k"), product("q", "query", "q2")]
    return model_of(nodes, {"query": normal(8, 8), "key": normal(8, 8)}, ["k", "q2"])


def test_products_that_share_an_activation_or_a_weight_are_one_group(shared: onnx.ModelProto) -> None:
    (group,) = groups(shared)
    assert (group.activations, group.weights) == ({"x", "q"}, {"query", "key"})


@given(st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8))
def test_results_in_float32_stay_the_same(maxima: list[float]) -> None:
    nodes = [product("x", "query", "q"), product("x", "key", "k"), product("q", "query", "q2")]
    model = model_of(nodes, {"query": normal(8, 8), "key": normal(8, 8)}, ["k", "q2"])
    x, largest = normal(5, 8), np.array(maxima, dtype=np.float32)
    before = run(model, x)
    factors = smooth(model, {"x": largest, "q": largest[::-1]})
    for expected, result in zip(before, run(model, x), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    for factor in factors.values():
        np.testing.assert_array_equal(np.log2(factor), np.rint(np.log2(factor)))


def test_a_channel_with_large_values_is_divided_and_its_row_multiplied() -> None:
    weight = np.ones((4, 3), dtype=np.float32)
    model = model_of([product("x", "weight", "y")], {"weight": weight}, ["y"])
    factors = smooth(model, {"x": np.array([1, 1, 1000, 1], dtype=np.float32)})["weight"]
    assert factors[2] / factors[0] == 2**8  # 1000 to the power of 0.8 is 251
    np.testing.assert_array_equal(weight_of(model, "weight"), weight * factors[:, None])
    (divide,) = [node for node in model.graph.node if node.op_type == "Mul"]
    np.testing.assert_array_equal(weight_of(model, divide.input[1]), 1 / factors)


def test_channels_of_equal_range_stay_as_they_are(shared: onnx.ModelProto) -> None:
    model = model_of([product("x", "weight", "y")], {"weight": np.ones((4, 3), dtype=np.float32)}, ["y"])
    before = model.SerializeToString()
    assert smooth(model, {"x": np.full(4, 3, dtype=np.float32)}) == {}
    assert model.SerializeToString() == before


def test_channels_that_are_always_zero_get_finite_factors() -> None:
    model = model_of([product("x", "weight", "y")], {"weight": np.zeros((4, 3), dtype=np.float32)}, ["y"])
    smooth(model, {"x": np.array([0, 0, 5, 0], dtype=np.float32)})
    assert np.isfinite(run(model, np.ones((1, 4), dtype=np.float32))[0]).all()


def test_a_weight_that_is_also_used_otherwise_stays_as_it_is() -> None:
    """Such as a table of embeddings that is multiplied again at the end."""
    nodes = [product("x", "table", "y"), helper.make_node("Identity", ["table"], ["rows"])]
    model = model_of(nodes, {"table": normal(4, 4)}, ["y", "rows"])
    assert groups(model) == []
    assert smooth(model, {}) == {}
