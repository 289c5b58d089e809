import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx
import pytest

from pipelines.checkpoints.resolve import ROOT
from pipelines.engines import onnx_engine
from pipelines.engines.choice import Choice, Dtype
from pipelines.engines.onnx_engine import EXACT_ON_X64, OnnxEngine, session_options
from pipelines.errors import CheckpointDamaged
from tests.conftest import MakeCheckpoint
from tests.pipelines.engines.batches import random_batch

CHOICE = Choice("onnx", "cpu", "float32", threads=1, slots=2)
BATCH = random_batch([3, 9, 1], vocab_size=60)


@pytest.fixture
def folder(imported: MakeCheckpoint, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported("classifier"), tmp_path / "copy"))


def test_an_engine_has_a_name_and_slots(imported: MakeCheckpoint) -> None:
    engine = OnnxEngine.load(imported("classifier"), CHOICE)
    assert (engine.name, engine.slots) == ("onnx float32 on cpu", 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def replace(path: Path) -> None:
    path.write_text("no graph")


def remove(path: Path) -> None:
    path.unlink()


def forget_metadata(path: Path) -> None:
    model = onnx.load(path, load_external_data=False)
    del model.metadata_props[:]
    onnx.save(model, path)


def point_outside(path: Path) -> None:
    shutil.copy(path.with_name("model.safetensors"), path.parents[1] / "model.safetensors")
    model = onnx.load(path, load_external_data=False)
    external = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    external.external_data[0].value = "../model.safetensors"
    onnx.save(model, path)


@pytest.mark.parametrize("harm", [empty, cut, replace, remove, forget_metadata, point_outside])
def test_a_graph_that_can_not_be_read_is_damaged_and_named(folder: Path, harm: object) -> None:
    path = folder / "model.onnx"
    harm(path)  # type: ignore[operator]
    with pytest.raises(CheckpointDamaged) as caught:
        OnnxEngine.load(folder, CHOICE)
    assert caught.value.where == str(path)
    assert caught.value.why
    assert "\n" not in caught.value.why


@pytest.mark.parametrize("harm", [empty, cut, remove])
def test_truncated_or_missing_weights_are_damaged(folder: Path, harm: object) -> None:
    weights = folder / "model.safetensors"
    if harm is cut:
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    else:
        harm(weights)  # type: ignore[operator]
    with pytest.raises(CheckpointDamaged) as caught:
        OnnxEngine.load(folder, CHOICE)
    assert caught.value.where == str(folder / "model.onnx")


def test_an_int8_engine_needs_an_int8_graph(folder: Path) -> None:
    with pytest.raises(CheckpointDamaged, match=r"model\.int8\.onnx"):
        OnnxEngine.load(folder, Choice("onnx", "cpu", "int8", threads=1, slots=1))


def test_a_folder_may_be_a_symbolic_link(imported: MakeCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(imported("classifier"))
    linked, direct = (OnnxEngine.load(folder, CHOICE) for folder in (tmp_path / "link", imported("classifier")))
    np.testing.assert_array_equal(linked.outputs(BATCH, "logits")[0], direct.outputs(BATCH, "logits")[0])


def test_all_files_may_be_symbolic_links(imported: MakeCheckpoint, tmp_path: Path) -> None:
    """The Hub's cache and mounted Kubernetes volumes consist of links."""
    for file in imported("classifier").iterdir():
        (tmp_path / file.name).symlink_to(file)
    assert np.isfinite(OnnxEngine.load(tmp_path, CHOICE).outputs(BATCH, "logits")[0]).all()


@pytest.mark.parametrize(("kind", "pad_id"), [("classifier", 0), ("extractor-roberta", 1)])
def test_the_graph_stores_the_pad_id_of_the_model(imported: MakeCheckpoint, kind: str, pad_id: int) -> None:
    model = onnx.load(imported(kind) / "model.onnx", load_external_data=False)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"munjang.pad_id": str(pad_id)}


@pytest.mark.parametrize(
    ("kind", "types"),
    [("classifier", True), ("classifier-distilbert", False), ("extractor-roberta", False), ("static", False)],
)
def test_only_models_with_segments_get_token_types(imported: MakeCheckpoint, kind: str, types: bool) -> None:
    model = onnx.load(imported(kind) / "model.onnx", load_external_data=False)
    named = {"input_ids", "attention_mask"} | ({"token_type_ids"} if types else set())
    assert {tensor.name for tensor in model.graph.input} == named


def test_an_unknown_token_fails_its_batch_but_not_the_next(imported: MakeCheckpoint) -> None:
    engine = OnnxEngine.load(imported("classifier"), CHOICE)
    expected = engine.outputs(BATCH, "logits")[0]
    bad = random_batch([3], vocab_size=60)
    bad.ids[1] = 10**6
    with pytest.raises(Exception, match="out of data bounds"):
        engine.outputs(bad, "logits")
    np.testing.assert_array_equal(engine.outputs(BATCH, "logits")[0], expected)


def test_only_cpus_without_int8_dot_products_get_the_slower_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_engine, "multiplies_int8", lambda: False)
    assert session_options(threads=1).get_session_config_entry(EXACT_ON_X64) == "1"
    monkeypatch.setattr(onnx_engine, "multiplies_int8", lambda: True)
    with pytest.raises(RuntimeError, match="does not have configuration"):
        session_options(threads=1).get_session_config_entry(EXACT_ON_X64)


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_that_run_at_once_give_the_same_results_as_alone(imported: MakeCheckpoint, threads: int) -> None:
    slots = 4
    engine = OnnxEngine.load(imported("extractor"), Choice("onnx", "cpu", "float32", threads=threads, slots=slots))
    batches = [random_batch([seed + 1, 40 - seed, 17], vocab_size=60, seed=seed) for seed in range(5 * slots)]
    alone = [engine.outputs(batch, "start_logits", "end_logits") for batch in batches]
    together = Barrier(slots)

    def run(part: int) -> list[tuple[np.ndarray, ...]]:
        together.wait()
        return [engine.outputs(batch, "start_logits", "end_logits") for batch in batches[part::slots]]

    with ThreadPoolExecutor(slots) as pool:
        parts = list(pool.map(run, range(slots)))
    for part, results in enumerate(parts):
        for (start, end), (one_start, one_end) in zip(results, alone[part::slots], strict=True):
            np.testing.assert_allclose(start, one_start, rtol=0, atol=1e-6)
            np.testing.assert_allclose(end, one_end, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_results_are_the_same_to_the_bit_with_any_number_of_threads(dtype: Dtype) -> None:
    folder = ROOT / "checkpoints" / "qa"
    engines = [OnnxEngine.load(folder, Choice("onnx", "cpu", dtype, threads=threads, slots=1)) for threads in (1, 2, 4)]
    for length in (3, 12, 65, 190, 384):
        batch = random_batch([length], vocab_size=2000, seed=length)
        first, *others = (engine.outputs(batch, "start_logits", "end_logits") for engine in engines)
        for other in others:
            np.testing.assert_array_equal(other, first)
