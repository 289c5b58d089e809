import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from safetensors.torch import load_file

from pipelines.checkpoints.resolve import ROOT
from pipelines.engines.onnx_weights import HALVES
from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import verify
from tests.checkpoint_factory import HALF_PRECISION_KINDS, KINDS
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, copy
from tests.pipelines.conftest import SHIPPED

EXPORT = """
import sys
from pathlib import Path
from pipelines.format.manifest import read_manifest
from pipelines.engines.onnx_export import write_onnx
write_onnx(Path(sys.argv[1]), read_manifest(Path(sys.argv[1])))
"""
MACHINE = (str(ROOT), sys.prefix, str(Path.home()), "site-packages", ".py")


def strings_of(message: object) -> list[str]:
    """All strings of a protobuf message, at any depth."""
    found: list[str] = []
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        values = value if field.is_repeated else [value]
        for one in values:
            if isinstance(one, str):
                found.append(one)
            elif hasattr(one, "ListFields"):
                found.extend(strings_of(one))
    return found


@pytest.mark.parametrize("kind", KINDS + SHIPPED)
def test_a_graph_contains_no_paths_of_the_machine_that_wrote_it(served: MakeCheckpoint, kind: str) -> None:
    for path in served(kind).glob("*.onnx"):
        texts = strings_of(onnx.load(path, load_external_data=False))
        assert "input_ids" in texts
        assert [text for text in texts if any(part in text for part in MACHINE)] == []


def test_another_process_writes_the_same_bytes(imported: MakeCheckpoint, tmp_path: Path) -> None:
    """Replicas that import the same source independently must get the same checkpoint."""
    folder = copy(imported("classifier"), tmp_path / "another place")
    (folder / "model.onnx").unlink()
    command = [sys.executable, "-c", EXPORT, str(folder)]
    subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "7", "HF_HUB_OFFLINE": "1"}, check=True)
    assert (folder / "model.onnx").read_bytes() == (imported("classifier") / "model.onnx").read_bytes()


@pytest.mark.parametrize("kind", KINDS + SHIPPED)
def test_a_graph_takes_any_number_of_items_and_tokens_and_uses_only_standard_operators(
    served: MakeCheckpoint, kind: str
) -> None:
    graph = onnx.load(served(kind) / "model.onnx", load_external_data=False).graph
    shapes = [[axis.dim_param for axis in tensor.type.tensor_type.shape.dim] for tensor in graph.input]
    assert all(len(shape) == 2 and all(shape) for shape in shapes)
    assert not any(node.domain for node in graph.node)


@pytest.mark.parametrize("kind", KINDS + HALF_PRECISION_KINDS)
def test_the_graph_does_not_repeat_the_weights(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    sizes = [4 * values.numel() for values in load_file(folder / WEIGHTS).values()]  # in float32
    large = sum(size for size in sizes if size >= 4096)
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    inline = sum(len(tensor.raw_data) for tensor in graph.initializer)
    assert large > 30_000
    assert inline < large / 10


@pytest.mark.parametrize("kind", HALF_PRECISION_KINDS)
def test_rows_of_16_bit_tables_are_converted_after_the_lookup(imported: MakeCheckpoint, kind: str) -> None:
    graph = onnx.load(imported(kind) / "model.onnx", load_external_data=False).graph
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type in HALVES}
    users = [node.op_type for node in graph.node if halves.intersection(node.input)]
    assert "Gather" in users
    assert set(users) <= {"Gather", "Cast"}
    assert max(np.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT) <= 1024


def test_weights_altered_after_the_graph_was_written_are_detected(imported: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy(imported("classifier"), tmp_path / "copy")
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1000] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointDamaged) as caught:
        verify(folder, "cola")
    assert caught.value.where == str(folder / WEIGHTS)
