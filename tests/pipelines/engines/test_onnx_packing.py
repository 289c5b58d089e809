import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pipelines.engines import onnx_engine
from pipelines.engines.choice import Choice
from pipelines.engines.onnx_engine import OnnxEngine
from pipelines.engines.onnx_packing import PLACES, ROWS, pack
from pipelines.format.manifest import KIND_SPECS, read_manifest
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import KINDS
from tests.conftest import MakeCheckpoint
from tests.pipelines.engines.batches import random_batch
from tests.pipelines.engines.graphs import Inputs, change, model_of

FLOAT32 = Choice("onnx", "cpu", "float32", threads=1, slots=1)
VOCABULARY, WIDTH, HEADS = 50, 6, 2
BATCHES = {
    "different lengths": random_batch([3, 9, 1, 30], VOCABULARY),
    "equal lengths": random_batch([5, 5], VOCABULARY),
    "one item": random_batch([7], VOCABULARY),
    "an item without tokens": random_batch([4, 0, 2], VOCABULARY),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "static"])
def test_a_checkpoint_gives_the_same_results_packed_as_padded(
    imported: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch, kind: str, batch: TokenBatch
) -> None:
    folder = imported(kind)
    names = KIND_SPECS[read_manifest(folder).kind].outputs
    packed = OnnxEngine.load(folder, FLOAT32)
    monkeypatch.setattr(onnx_engine, "pack", lambda model: False)
    padded = OnnxEngine.load(folder, FLOAT32)
    assert packed.padding_cost < padded.padding_cost == 1
    for name, array, expected in zip(names, packed.outputs(batch, *names), padded.outputs(batch, *names), strict=True):
        defined = batch.mask if name in {"start_logits", "end_logits"} else ...
        np.testing.assert_allclose(array[defined], expected[defined], rtol=1e-4, atol=1e-5)


def encoder(layers: int = 1, **changes: list[str] | dict[str, object]) -> ModelProto:
    """Layers of attention after a normalization, then the sum of each item's tokens.

    `changes` are the inputs or attributes of single nodes, by output; layers are counted from 0.
    """
    draw = np.random.default_rng(0)
    constants: dict[str, NDArray[np.generic]] = {
        name: draw.normal(size=shape).astype(np.float32)
        for name, shape in {"w": (WIDTH, WIDTH), "b": (WIDTH,), "table": (5, WIDTH)}.items()
    }
    constants["axes"] = np.array([1])
    nodes = [helper.make_node("LayerNormalization", ["x", "b"], ["h0"], axis=-1)]
    for layer in range(layers):
        nodes += [helper.make_node("MatMul", [f"h{layer}", "w"], [f"{part}{layer}"]) for part in "qkv"]
        heads = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
        nodes += [
            helper.make_node("Attention", [*(f"{part}{layer}" for part in "qkv"), "mask"], [f"a{layer}"], **heads),
            helper.make_node("MatMul", [f"a{layer}", "w"], [f"m{layer}"]),
            helper.make_node("Add", [f"m{layer}", "b"], [f"o{layer}"]),
            helper.make_node("Add", [f"o{layer}", f"h{layer}"], [f"s{layer}"]),
            helper.make_node("LayerNormalization", [f"s{layer}", "b"], [f"h{layer + 1}"], axis=-1),
        ]
    nodes += [
        helper.make_node("Mul", [f"h{layers}", "counted"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["y"], keepdims=0),
    ]
    change(nodes, changes)
    inputs: Inputs = {
        "x": (TensorProto.FLOAT, ["items", "longest", WIDTH]),
        "mask": (TensorProto.FLOAT, ["items", 1, "longest", "longest"]),
        "counted": (TensorProto.FLOAT, ["items", "longest", 1]),
    }
    return model_of(nodes, constants, inputs, opset=23)


BATCH = random_batch([5, 2, 3], VOCABULARY)
TOKENS = len(BATCH.ids)
ARRAYS: dict[str, NDArray[np.generic]] = {
    "x": np.random.default_rng(1).normal(size=(*BATCH.mask.shape, WIDTH)).astype(np.float32),
    "mask": np.where(BATCH.mask, 0, -np.inf).astype(np.float32)[:, None, None].repeat(BATCH.mask.shape[1], 2),
    "counted": BATCH.mask.astype(np.float32)[..., None],
}
PACKING = dict(zip((PLACES, ROWS), BATCH.packing(), strict=True))


def run(model: ModelProto, name: str, **more: NDArray[np.int64]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run([name], ARRAYS | more)[0]
    return result


def test_layers_compute_tokens_only_and_results_stay() -> None:
    model = encoder(layers=2)
    expected = run(model, "y")
    assert pack(model)
    np.testing.assert_allclose(run(model, "y", **PACKING), expected, rtol=1e-5, atol=1e-6)
    for name in ("m0", "s0", "h1", "m1", "h2"):
        model.graph.output.append(onnx.ValueInfoProto(name=name))
        assert run(model, name, **PACKING).shape == (TOKENS, WIDTH)


@pytest.mark.parametrize(
    "changes",
    [
        {"s0": ["o0", "x"]},
        {"o0": ["m0", "table"]},
        {"o0": ["table", "m0"]},
        {"o0": ["a0", "b"]},
        {"h1": {"axis": 2}},
        {"s0": ["o0", "counted"]},
    ],
    ids=[
        "a sum with a padded tensor",
        "one number a place",
        "the same, first",
        "no product after attention",
        "an axis counted from the front",
        "mask",
    ],
)
def test_what_does_not_work_on_single_tokens_is_padded(changes: dict[str, list[str] | dict[str, object]]) -> None:
    model = encoder(**changes)
    expected = run(model, "y")
    assert pack(model)
    np.testing.assert_allclose(run(model, "y", **PACKING), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"a0": {}},
        {"q0": ["x", "w"]},
        {"s0": ["o0", "x"], "h1": ["x", "b"]},
    ],
    ids=["heads come first", "no normalization before", "only the first of two attentions"],
)
def test_a_graph_in_another_form_stays_as_it_is(changes: dict[str, list[str] | dict[str, object]]) -> None:
    model = encoder(layers=2, **changes)
    before = model.SerializeToString()
    assert not pack(model)
    assert model.SerializeToString() == before


def test_a_graph_whose_output_would_lose_its_padding_stays_as_it_is() -> None:
    model = encoder()
    model.graph.output.append(onnx.ValueInfoProto(name="h1"))
    assert not pack(model)


def test_a_graph_with_a_branch_that_uses_a_layers_result_stays_as_it_is() -> None:
    model = encoder()
    value = helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["h1"], ["branch"])], "branch", [], [value])
    truth = numpy_helper.from_array(np.array(True), "truth")
    model.graph.initializer.append(truth)
    chosen: NodeProto = helper.make_node("If", ["truth"], ["chosen"], then_branch=branch, else_branch=branch)
    model.graph.node.append(chosen)
    assert not pack(model)


def test_a_graph_without_attention_stays_as_it_is(imported: MakeCheckpoint) -> None:
    assert OnnxEngine.load(imported("static"), FLOAT32).padding_cost == 1
