import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper

from pipelines.checkpoints.resolve import ROOT
from pipelines.engines import onnx_engine
from pipelines.engines.choice import REFERENCE, Choice
from pipelines.engines.loading import load_engine
from pipelines.engines.onnx_engine import OnnxEngine, fused_session, session_options
from pipelines.engines.onnx_fusion import Fused, fuse
from pipelines.engines.quantization import write_int8
from pipelines.format.manifest import read_manifest
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy
from tests.pipelines.engines.batches import random_batch
from tests.pipelines.engines.graphs import Inputs, change, model_of

FLOAT32 = Choice("onnx", "cpu", "float32", threads=1, slots=1)
INT8 = Choice("onnx", "cpu", "int8", threads=1, slots=1)
VOCABULARY = 60
LAYERS = 2
PADDED = random_batch([3, 9, 1, 30], VOCABULARY)


@pytest.fixture(scope="module")
def folder(imported: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with an int8 graph."""
    folder = copy(imported("classifier"), tmp_path_factory.mktemp("fused") / "classifier")
    write_int8(folder, [random_batch([2 + seed], VOCABULARY, seed) for seed in range(60)])
    return folder


def read(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)


def operators(graph: GraphProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.node)


def as_stored(path: Path, choice: Choice) -> OnnxEngine:
    session = onnxruntime.InferenceSession(path, session_options(1), ["CPUExecutionProvider"])
    return OnnxEngine(session, choice)


def run_by_onnx_runtime(path: Path, scratch: Path) -> Counter[str]:
    """The operators of the graph that ONNX Runtime executes, after its own optimizations."""
    options = session_options(1)
    options.optimized_model_filepath = str(scratch / "optimized.onnx")
    fused_session(path, options)
    return operators(read(scratch / "optimized.onnx").graph)


def test_an_int8_graph_runs_one_node_for_each_product_and_each_attention(folder: Path, tmp_path: Path) -> None:
    stored = operators(read(folder / "model.int8.onnx").graph)
    assert stored["MatMulInteger"] >= 6 * LAYERS
    run = run_by_onnx_runtime(folder / "model.int8.onnx", tmp_path)
    assert (run["MatMulIntegerToFloat"], run["Attention"]) == (stored["MatMulInteger"], LAYERS)
    left = {"MatMulInteger", "Softmax", "MatMul", "FusedMatMul", "Transpose", "BiasGelu"} & run.keys()
    assert not left
    smoothed = [node for node in read(folder / "model.int8.onnx").graph.node if node.name.endswith(".smooth")]
    assert run["Mul"] == len(smoothed) <= 4 * LAYERS
    assert run["QuantizeLinear"] < run["MatMulIntegerToFloat"]  # query, key and value share one


def test_a_float32_graph_runs_one_node_for_each_attention(folder: Path, tmp_path: Path) -> None:
    run = run_by_onnx_runtime(folder / "model.onnx", tmp_path)
    assert (run["Attention"], run["Softmax"]) == (LAYERS, 0)


@pytest.mark.parametrize("kind", ["classifier", "static"])
def test_sums_and_normalizations_stay_apart(imported: MakeCheckpoint, tmp_path: Path, kind: str) -> None:
    run = run_by_onnx_runtime(imported(kind) / "model.onnx", tmp_path)
    assert run["SkipLayerNormalization"] == 0
    assert run["LayerNormalization"] == (1 + 2 * LAYERS if kind == "classifier" else 0)


@pytest.mark.parametrize("choice", [FLOAT32, INT8])
def test_outputs_are_those_of_the_stored_graph(folder: Path, choice: Choice) -> None:
    stored = as_stored(folder / onnx_engine.ONNX[choice.dtype], choice)
    fused = OnnxEngine.load(folder, choice)
    for batch in (PADDED, random_batch([1], VOCABULARY), random_batch([60, 60], VOCABULARY)):
        expected = stored.outputs(batch, "logits")[0]
        np.testing.assert_allclose(fused.outputs(batch, "logits")[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder", "classifier-distilbert", "extractor-roberta"])
def test_attention_of_other_architectures_is_joined_too(imported: MakeCheckpoint, kind: str) -> None:
    fused = fuse(read(imported(kind) / "model.onnx"))
    assert fused == Fused(products=0, attentions=LAYERS)


@pytest.mark.parametrize(
    "graph", sorted((ROOT / "checkpoints").glob("*/model*.onnx")), ids=lambda path: path.parent.name
)
def test_no_product_and_no_attention_of_the_shipped_checkpoints_is_left_apart(graph: Path) -> None:
    layers = json.loads(graph.with_name("config.json").read_text())["num_hidden_layers"]
    model = read(graph)
    products = operators(model.graph)["MatMulInteger"]
    assert (products > 0) is (graph.name == "model.int8.onnx")
    assert fuse(model) == Fused(products, attentions=layers)
    assert not {"MatMulInteger", "Softmax"} & operators(model.graph).keys()


def test_an_item_without_tokens_gets_what_pytorch_gives(folder: Path) -> None:
    """All its keys are masked."""
    batch = random_batch([0, 5], VOCABULARY)
    reference = load_engine(folder, read_manifest(folder), REFERENCE).outputs(batch, "logits")[0]
    outputs = OnnxEngine.load(folder, FLOAT32).outputs(batch, "logits")[0]
    np.testing.assert_allclose(outputs, reference, rtol=0, atol=1e-5)


def test_a_graph_without_attention_or_int8_stays_as_it_is(imported: MakeCheckpoint) -> None:
    model = read(imported("static") / "model.onnx")
    before = model.SerializeToString()
    assert fuse(model) == Fused(products=0, attentions=0)
    assert model.SerializeToString() == before


def test_the_log_says_what_was_joined(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="pipelines"):
        OnnxEngine.load(folder, FLOAT32)
    assert f"0 int8 products and {LAYERS} attentions as one node each" in caplog.text


def unknown_operator(model: ModelProto) -> Fused:
    model.graph.node[-1].op_type = "NoSuchOperator"
    return Fused(0, 0)


def wrong_shape(model: ModelProto) -> Fused:
    """An error that appears only when a batch runs."""
    masks = [name for node in model.graph.node if node.op_type == "Where" for name in node.output]
    sums = [node for node in model.graph.node if node.op_type == "Add" and masks[0] in node.input]
    for node in sums:
        node.input[list(node.input).index(masks[0])] = "input_ids_as_float"
    cast = helper.make_node("Cast", ["input_ids"], ["input_ids_as_float"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    return Fused(0, 0)


@pytest.mark.parametrize("harm", [unknown_operator, wrong_shape])
def test_a_graph_that_fails_when_joined_runs_as_it_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, harm: object
) -> None:
    expected = OnnxEngine.load(folder, INT8).outputs(PADDED, "logits")[0]
    monkeypatch.setattr(onnx_engine, "fuse", harm)
    outputs = OnnxEngine.load(folder, INT8).outputs(PADDED, "logits")[0]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    assert "model.int8.onnx runs as it is stored, which is slower: " in caplog.text


def product(*, zero: int = 0, bias: list[float] | None = None, to: int = TensorProto.FLOAT) -> ModelProto:
    """An int8 product of three inputs and two columns."""
    constants = {
        "weight": np.array([[1, -2], [3, 4], [-5, 6]], dtype=np.int8),
        "scale": np.array([0.5, 0.25], dtype=np.float32),
        "zero": np.array([zero, zero], dtype=np.int8),
        "input_scale": np.float32(0.1),
        "input_zero": np.uint8(7),
        "bias": np.array([10, 20] if bias is None else bias, dtype=np.float32),
    }
    nodes = [
        helper.make_node("MatMulInteger", ["x", "weight", "input_zero", "zero"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["real"], to=to),
        helper.make_node("Mul", ["input_scale", "scale"], ["scales"]),
        helper.make_node("Mul", ["real", "scales"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"]),
    ]
    return model_of(nodes, constants, {"x": (TensorProto.UINT8, ["rows", 3])})


def run(model: ModelProto, **inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(["y"], inputs)[0]
    return result


X = np.array([[0, 255, 7], [100, 3, 200]], dtype=np.uint8)


@pytest.mark.parametrize("zero", [0, 3])
def test_a_product_keeps_its_zero_points(zero: int) -> None:
    model = product(zero=zero)
    expected = run(model, x=X)
    assert fuse(model).products == 1
    assert operators(model.graph) == {"MatMulIntegerToFloat": 1}
    np.testing.assert_allclose(run(model, x=X), expected, rtol=1e-6)


@pytest.mark.parametrize("bias", [[5.0], [5.0, 6.0]])
def test_only_a_bias_for_each_column_becomes_part_of_the_product(bias: list[float]) -> None:
    model = product(bias=bias)
    expected = run(model, x=X)
    assert fuse(model).products == 1
    assert operators(model.graph)["Add"] == (len(bias) == 1)
    np.testing.assert_allclose(run(model, x=X), expected, rtol=1e-6)


def test_the_sum_of_a_product_and_another_tensor_stays_a_sum() -> None:
    model = product()
    model.graph.node[-1].input[1] = "residual"
    model.graph.input.append(helper.make_tensor_value_info("residual", TensorProto.FLOAT, ["rows", 2]))
    residual = np.array([[1, 2], [3, 4]], dtype=np.float32)
    expected = run(model, x=X, residual=residual)
    fuse(model)
    assert operators(model.graph) == {"MatMulIntegerToFloat": 1, "Add": 1}
    np.testing.assert_allclose(run(model, x=X, residual=residual), expected, rtol=1e-6)


def test_a_product_that_is_used_before_its_bias_is_added_is_still_there() -> None:
    model = product()
    model.graph.node[-1].output[0] = "biased"
    model.graph.node.append(helper.make_node("Mul", ["scaled", "biased"], ["y"]))
    expected = run(model, x=X)
    fuse(model)
    np.testing.assert_allclose(run(model, x=X), expected, rtol=1e-6)


def test_a_product_in_another_type_stays_as_it_is() -> None:
    model = product(to=TensorProto.DOUBLE)
    assert fuse(model).products == 0


HEADS, HEAD = 2, 3
WIDTH = HEADS * HEAD


def attention(**changes: object) -> ModelProto:
    """Attention as PyTorch's exporter writes it. `changes` are the attributes or inputs of single nodes, by output."""
    draw = np.random.default_rng(0)
    constants: dict[str, NDArray[np.generic]] = {
        "view": np.array([0, 0, HEADS, HEAD]),
        "joined": np.array([0, 0, WIDTH]),
        "flat": np.array([-1, 5, HEAD]),
        "unflat": np.array([2, HEADS, HEAD, 5]),
        "root": np.float32(HEAD**-0.25),
        "nothing": np.float32(0),
    }
    nodes = []
    for part in "qkv":
        constants[f"{part}_weight"] = draw.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        constants[f"{part}_bias"] = draw.normal(size=WIDTH).astype(np.float32)
        nodes += [
            helper.make_node("MatMul", ["x", f"{part}_weight"], [f"{part}_product"]),
            helper.make_node("Add", [f"{part}_product", f"{part}_bias"], [part]),
            helper.make_node("Reshape", [part, "view"], [f"{part}_view"]),
            helper.make_node("Transpose", [f"{part}_view"], [f"{part}_heads"], perm=[0, 2, 1, 3]),
        ]
    nodes += [
        helper.make_node("Mul", ["q_heads", "root"], ["q_scaled"]),
        helper.make_node("Reshape", ["k_heads", "flat"], ["k_flat"]),
        helper.make_node("Transpose", ["k_flat"], ["k_turned"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["k_turned", "unflat"], ["k_transposed"]),
        helper.make_node("Mul", ["k_transposed", "root"], ["k_scaled"]),
        helper.make_node("MatMul", ["q_scaled", "k_scaled"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("IsNaN", ["weights"], ["undefined"]),
        helper.make_node("Where", ["undefined", "nothing", "weights"], ["defined"]),
        helper.make_node("MatMul", ["defined", "v_heads"], ["weighted"]),
        helper.make_node("Transpose", ["weighted"], ["tokens_first"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["tokens_first", "joined"], ["y"]),
    ]
    change(nodes, changes)
    float32 = TensorProto.FLOAT
    inputs: Inputs = {"x": (float32, [2, 5, WIDTH]), "mask": (float32, [2, 1, 5, 5])}
    return model_of(nodes, constants, inputs)


ATTENDED = {
    "x": np.random.default_rng(1).normal(size=(2, 5, WIDTH)).astype(np.float32),
    "mask": np.where(np.arange(5) < np.array([5, 3])[:, None, None, None], 0, -np.inf).repeat(5, 2).astype(np.float32),
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"masked": ["mask", "scores"]},
        {"weighted": ["weights", "v_heads"]},
        {"scores": ["q_heads", "k_scaled"]},
        {"k_scaled": ["k_other", "root"]},
    ],
    ids=["as it is", "mask first", "without the check for NaN", "only the key is scaled", "key transposed at once"],
)
def test_attention_becomes_one_node_with_the_same_results(changes: dict[str, list[str]]) -> None:
    model = attention(**changes)
    if "k_scaled" in changes:
        turned = helper.make_node("Transpose", ["k_heads"], ["k_other"], perm=[0, 1, 3, 2])
        model.graph.node.insert([node.output[0] for node in model.graph.node].index("k_scaled"), turned)
    expected = run(model, **ATTENDED)
    assert fuse(model).attentions == 1
    assert operators(model.graph) == {"MatMul": 3, "Add": 3, "Attention": 1}
    np.testing.assert_allclose(run(model, **ATTENDED), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"q_view": ["q_product", "view"]}, {"k_flat": ["q_heads", "flat"]}, {"v_heads": {"perm": [0, 2, 1, 3]}}],
    ids=["no bias, so unknown width", "query is key", "as it is"],
)
def test_attention_of_tensors_with_heads_first_keeps_them(changes: dict[str, object]) -> None:
    """As with rotary positions, which come between the views and the scores."""
    model = attention(**changes)
    turned = helper.make_node("Add", ["q_heads", "root"], ["q_rotated"])
    model.graph.node.insert([node.output[0] for node in model.graph.node].index("q_scaled"), turned)
    next(node for node in model.graph.node if node.output[0] == "q_scaled").input[0] = "q_rotated"
    expected = run(model, **ATTENDED)
    assert fuse(model).attentions == 1
    left = operators(model.graph)
    assert (left["Softmax"], left["Attention"], left["MatMul"]) == (0, 1, 2 if "k_flat" in changes else 3)
    np.testing.assert_allclose(run(model, **ATTENDED), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": {"axis": 2}},
        {"k_turned": {"perm": [0, 1, 2]}},
        {"defined": ["undefined", "root", "weights"]},
        {"q_scaled": ["q_heads", "x"]},
    ],
    ids=["softmax over queries", "key not transposed", "another value for NaN", "not scaled by a constant"],
)
def test_attention_in_another_form_stays_as_it_is(changes: dict[str, object]) -> None:
    model = attention(**changes)
    assert fuse(model).attentions == 0
    assert operators(model.graph)["Softmax"] == 1


def test_a_result_that_is_used_before_its_tokens_come_first_keeps_its_form() -> None:
    model = attention()
    model.graph.node.append(helper.make_node("Transpose", ["weighted"], ["other"], perm=[0, 2, 1, 3]))
    model.graph.node.append(helper.make_node("Reshape", ["other", "joined"], ["z"]))
    model.graph.output.append(onnx.ValueInfoProto(name="z"))
    expected = run(model, **ATTENDED)
    assert fuse(model).attentions == 1
    np.testing.assert_allclose(run(model, **ATTENDED), expected, rtol=1e-5, atol=1e-6)
