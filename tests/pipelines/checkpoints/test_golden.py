import asyncio
from pathlib import Path

import pytest

from pipelines.checkpoints import golden
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.choice import Backend, EngineSettings
from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import MANIFEST, Golden, read_manifest, verify, write_manifest
from tests.checkpoint_factory import KINDS
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_weights


def check(folder: Path, backend: Backend = "torch") -> None:
    manifest = read_manifest(folder)
    settings = EngineSettings(device="cpu", backend=backend, dtype="float32")
    golden.check(folder, manifest, load_model(folder, manifest, settings))


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_of_the_task_is_recorded_at_import(imported: MakeCheckpoint, kind: str) -> None:
    manifest = read_manifest(imported(kind))
    assert [one.inputs for one in manifest.golden] == list(TASKS[manifest.task].golden)
    assert all(isinstance(one.output, str if manifest.task == "qa" else float) for one in manifest.golden)
    for backend in ("torch", "onnx"):
        check(imported(kind), backend)


@pytest.mark.parametrize(
    ("kind", "weight", "backend"),
    [
        ("bi-encoder", "embeddings.word_embeddings.weight", "torch"),
        ("static", "embedding.weight", "torch"),
        ("cross-encoder", "classifier.weight", "torch"),
        ("classifier", "classifier.weight", "torch"),
        ("extractor", "qa_outputs.weight", "torch"),
        ("bi-encoder", "embeddings.word_embeddings.weight", "onnx"),
        ("static", "embedding.weight", "onnx"),
        ("extractor", "bert.encoder.layer.1.output.dense.weight", "onnx"),
    ],
)
def test_altered_weights_are_detected_even_if_their_hashes_match(
    imported: MakeCheckpoint, tmp_path: Path, kind: str, weight: str, backend: Backend
) -> None:
    folder = copy(imported(kind), tmp_path / "copy")
    edit_weights(folder, lambda weights: weights.update({weight: weights[weight].flip(0).contiguous() - 0.5}))
    manifest = write_manifest(folder, read_manifest(folder))
    verify(folder, manifest.task)
    with pytest.raises(CheckpointDamaged, match=rf"golden input \d should give .* with {backend} float32") as caught:
        check(folder, backend)
    assert caught.value.where == str(folder / MANIFEST)


def test_the_input_with_the_wrong_answer_is_named(imported: MakeCheckpoint) -> None:
    folder = imported("classifier")
    manifest = read_manifest(folder)
    wrong = [manifest.golden[0], Golden(inputs=manifest.golden[1].inputs, output=2.0)]
    model = load_model(folder, manifest, EngineSettings())
    with pytest.raises(CheckpointDamaged, match=r"golden input 1 should give 2\.0"):
        golden.check(folder, manifest.model_copy(update={"golden": wrong}), model)


def test_differences_within_the_tolerance_pass(imported: MakeCheckpoint) -> None:
    folder = imported("classifier")
    manifest = read_manifest(folder)
    model = load_model(folder, manifest, EngineSettings())
    for shift, passes in ((0.019, True), (-0.019, True), (0.021, False)):
        moved = [Golden(inputs=one.inputs, output=float(one.output) + shift) for one in manifest.golden]
        shifted = manifest.model_copy(update={"golden": moved})
        if passes:
            golden.check(folder, shifted, model)
        else:
            with pytest.raises(CheckpointDamaged):
                golden.check(folder, shifted, model)


def test_a_checkpoint_without_golden_inputs_passes(imported: MakeCheckpoint) -> None:
    folder = imported("classifier")
    manifest = read_manifest(folder).model_copy(update={"golden": []})
    golden.check(folder, manifest, load_model(folder, manifest, EngineSettings()))


def test_golden_inputs_can_be_checked_while_an_event_loop_runs(imported: MakeCheckpoint) -> None:
    async def inside() -> None:
        check(imported("static"))

    asyncio.run(inside())
