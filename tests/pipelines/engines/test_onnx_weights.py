from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from pipelines.engines.onnx_weights import TYPES, inline_weights, share_weights

Arrays = dict[str, NDArray[np.generic]]

DRAW = np.random.default_rng(0)
SQUARE = DRAW.standard_normal((64, 64), dtype=np.float32)
WIDE = DRAW.standard_normal((64, 80), dtype=np.float32)
BIAS = DRAW.standard_normal(4096, dtype=np.float32)
HALF = {"F16": torch.float16, "BF16": torch.bfloat16}


def graph_of(**weights: NDArray[np.generic]) -> onnx.ModelProto:
    """A graph that outputs each weight unchanged."""
    outputs = [
        helper.make_tensor_value_info(f"out_{name}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in weights.items()
    ]
    nodes = [helper.make_node("Identity", [name], [f"out_{name}"]) for name in weights]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def shared(folder: Path, file: Arrays, graph: Arrays) -> tuple[onnx.ModelProto, list[str]]:
    """A graph of the weights `graph` that shares the weights of a file, and the names of the shared ones."""
    save_file({name: np.ascontiguousarray(array) for name, array in file.items()}, folder / "model.safetensors")
    model = graph_of(**graph)
    share_weights(model, folder / "model.safetensors")
    return model, [tensor.name for tensor in model.graph.initializer if tensor.external_data]


def computed(folder: Path, model: onnx.ModelProto) -> Arrays:
    onnx.save(model, folder / "model.onnx")
    onnx.checker.check_model(folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name.removeprefix("out_"): array for name, array in zip(names, session.run(names, {}), strict=True)}


@pytest.mark.parametrize("array", [SQUARE, WIDE, BIAS, WIDE.reshape(4, 16, 80)], ids=["square", "wide", "1d", "3d"])
def test_weights_that_the_file_holds_are_read_from_it(tmp_path: Path, array: NDArray[np.float32]) -> None:
    model, names = shared(tmp_path, {"before": BIAS + 1, "x": array, "z": WIDE + 1}, {"w": array})
    assert names == ["w"]
    assert not model.graph.initializer[0].raw_data
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], array)
    assert (tmp_path / "model.onnx").stat().st_size < 1000


@pytest.mark.parametrize("array", [SQUARE, WIDE], ids=["square", "wide"])
def test_matrices_that_the_file_holds_transposed_are_transposed(tmp_path: Path, array: NDArray[np.float32]) -> None:
    model, names = shared(tmp_path, {"x": array}, {"w": array.T})
    assert names == ["w.transposed"]
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], array.T)
    assert (tmp_path / "model.onnx").stat().st_size < 1000


def test_a_matrix_and_its_transpose_are_distinguished(tmp_path: Path) -> None:
    other = SQUARE + 1
    model, names = shared(
        tmp_path, {"x": SQUARE, "y": other.T}, {"there": SQUARE, "back": SQUARE.T, "other": other, "turned": other.T}
    )
    assert names == ["there", "back.transposed", "other.transposed", "turned"]
    results = computed(tmp_path, model)
    np.testing.assert_array_equal(results["there"], SQUARE)
    np.testing.assert_array_equal(results["back"], SQUARE.T)
    np.testing.assert_array_equal(results["other"], other)
    np.testing.assert_array_equal(results["turned"], other.T)


def test_a_symmetric_matrix_is_not_transposed(tmp_path: Path) -> None:
    symmetric = SQUARE + SQUARE.T
    model, names = shared(tmp_path, {"x": symmetric}, {"w": symmetric})
    assert names == ["w"]
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], symmetric)


def test_the_same_bytes_in_another_shape_are_not_shared(tmp_path: Path) -> None:
    model, names = shared(tmp_path, {"x": WIDE}, {"w": WIDE.reshape(80, 64), "flat": WIDE.ravel()})
    assert names == []
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], WIDE.reshape(80, 64))


def test_small_weights_other_dtypes_and_weights_missing_in_the_file_stay_in_the_graph(tmp_path: Path) -> None:
    small = np.ones((2, 2), dtype=np.float32)
    half = WIDE.astype(np.float16)
    whole = WIDE.astype(np.int8)
    file: Arrays = {"small": small, "near": WIDE, "half": half, "whole": whole}
    graph: Arrays = {"small": small, "changed": WIDE + 1e-6, "half": half, "whole": whole}
    model, names = shared(tmp_path, file, graph)
    assert names == []
    for name, array in computed(tmp_path, model).items():
        np.testing.assert_array_equal(array, graph[name])


def test_two_names_for_the_same_weights_may_share_them(tmp_path: Path) -> None:
    model, names = shared(tmp_path, {"x": WIDE, "y": WIDE}, {"one": WIDE, "two": WIDE, "turned": WIDE.T})
    assert names == ["one", "two", "turned.transposed"]
    results = computed(tmp_path, model)
    for name in ("one", "two"):
        np.testing.assert_array_equal(results[name], WIDE)
    np.testing.assert_array_equal(results["turned"], WIDE.T)


def test_without_the_file_nothing_is_shared(tmp_path: Path) -> None:
    model = graph_of(w=WIDE)
    share_weights(model, tmp_path / "model.safetensors")
    assert model == graph_of(w=WIDE)


def halved(folder: Path, dtype: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Store the array in a 16-bit file and return it as it is read back, in float32."""
    half = torch.from_numpy(array).to(HALF[dtype])
    save_torch({"before": half + 1, "x": half}, folder / "model.safetensors")
    widened: NDArray[np.float32] = half.float().numpy()
    return widened


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("array", [SQUARE, BIAS, WIDE.reshape(4, 16, 80)], ids=["matrix", "1d", "3d"])
def test_16_bit_weights_are_read_as_they_are_and_converted(
    tmp_path: Path, dtype: str, array: NDArray[np.float32]
) -> None:
    widened = halved(tmp_path, dtype, array)
    model = graph_of(w=widened)
    share_weights(model, tmp_path / "model.safetensors")
    assert [tensor.data_type for tensor in model.graph.initializer] == [TYPES[dtype]]
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], widened)
    assert (tmp_path / "model.onnx").stat().st_size < 1000


@pytest.mark.parametrize("dtype", HALF)
def test_16_bit_matrices_are_transposed_too(tmp_path: Path, dtype: str) -> None:
    widened = halved(tmp_path, dtype, WIDE)
    model = graph_of(w=widened.T)
    share_weights(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(computed(tmp_path, model)["w"], widened.T)
    assert (tmp_path / "model.onnx").stat().st_size < 1000


def looking_up(table: NDArray[np.float32], *, whole: bool) -> onnx.ModelProto:
    """A graph that outputs two rows of the table and, if `whole`, also the table."""
    model = graph_of(w=table)
    rows = np.array([2, 5])
    model.graph.initializer.append(numpy_helper.from_array(rows, "ids"))
    model.graph.node.append(helper.make_node("Gather", ["w", "ids"], ["out_rows"]))
    model.graph.output.append(helper.make_tensor_value_info("out_rows", TensorProto.FLOAT, [2, table.shape[1]]))
    if not whole:
        del model.graph.node[0], model.graph.output[0]
    return model


@pytest.mark.parametrize("dtype", HALF)
def test_only_the_rows_that_are_looked_up_are_converted(tmp_path: Path, dtype: str) -> None:
    widened = halved(tmp_path, dtype, WIDE)
    model = looking_up(widened, whole=False)
    share_weights(model, tmp_path / "model.safetensors")
    assert [node.op_type for node in model.graph.node] == ["Gather", "Cast"]
    np.testing.assert_array_equal(computed(tmp_path, model)["rows"], widened[[2, 5]])


@pytest.mark.parametrize("dtype", HALF)
def test_a_table_that_other_nodes_use_is_converted_as_a_whole(tmp_path: Path, dtype: str) -> None:
    widened = halved(tmp_path, dtype, WIDE)
    model = looking_up(widened, whole=True)
    share_weights(model, tmp_path / "model.safetensors")
    assert [node.op_type for node in model.graph.node] == ["Cast", "Identity", "Gather"]
    results = computed(tmp_path, model)
    np.testing.assert_array_equal(results["w"], widened)
    np.testing.assert_array_equal(results["rows"], widened[[2, 5]])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_inlining_restores_the_graph_from_before_sharing(tmp_path: Path, dtype: str, turned: bool, whole: bool) -> None:
    widened = halved(tmp_path, dtype, WIDE)
    model = looking_up(np.ascontiguousarray(widened.T) if turned else widened, whole=whole)
    before = onnx.ModelProto()
    before.CopyFrom(model)
    share_weights(model, tmp_path / "model.safetensors")
    assert model != before
    onnx.save(model, tmp_path / "model.onnx")
    assert inline_weights(tmp_path / "model.onnx") == before
