import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from pipelines.checkpoints import golden, in_process
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.engines import onnx_export
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import MANIFEST, Task, read_manifest, verify
from tests.checkpoint_factory import KINDS, MAX_TOKENS
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import (
    WEIGHTS,
    Planted,
    copy,
    cut,
    pickle_weights,
    plain_pickle,
    refused,
)

TASKS: dict[str, tuple[Task, str, int | None]] = {
    "bi-encoder": ("sts", "bi-encoder", MAX_TOKENS),
    "static": ("sts", "bi-encoder", None),
    "bare-encoder": ("sts", "bi-encoder", MAX_TOKENS),
    "cross-encoder": ("sts", "cross-encoder", MAX_TOKENS),
    "cross-encoder-sigmoid": ("sts", "cross-encoder", MAX_TOKENS),
    "classifier": ("cola", "classifier", MAX_TOKENS),
    "classifier-distilbert": ("cola", "classifier", MAX_TOKENS),
    "extractor": ("qa", "extractor", MAX_TOKENS),
    "extractor-roberta": ("qa", "extractor", MAX_TOKENS),
}
SENTENCES = ["오늘 과제는 코딩 과제입니다.", "The museum is in Busan."]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognized_verified_and_gives_the_golden_answers(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    manifest = read_manifest(folder)
    task, expected, longest = TASKS[kind]
    assert (manifest.task, manifest.kind, manifest.max_tokens) == (task, expected, longest)
    assert manifest.special_tokens == (kind != "static")
    assert (manifest.name, manifest.base_model, manifest.revision) == (kind, kind, None)
    assert verify(folder, task) == manifest
    assert (folder / "tokenizer.json").is_file()
    assert {WEIGHTS, "model.onnx"} <= set(manifest.files)
    assert list(folder.rglob("*.bin")) == []
    golden.check(folder, manifest, in_process.load_model(folder, manifest, EngineSettings()))


def test_the_original_library_still_loads_an_imported_model(
    checkpoint: MakeCheckpoint, imported: MakeCheckpoint
) -> None:
    for kind in ("bi-encoder", "static"):
        before, after = (
            SentenceTransformer(str(f), device="cpu").encode(SENTENCES) for f in (checkpoint(kind), imported(kind))
        )
        np.testing.assert_allclose(before, after, rtol=0, atol=1e-6)
    one, other = (CrossEncoder(str(f("cross-encoder-sigmoid")), device="cpu") for f in (checkpoint, imported))
    np.testing.assert_allclose(one.predict([SENTENCES]), other.predict([SENTENCES]), rtol=0, atol=1e-6)
    AutoModelForQuestionAnswering.from_pretrained(imported("extractor"))
    AutoModelForSequenceClassification.from_pretrained(imported("classifier"))


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["bi-encoder", "extractor"])
def test_the_model_in_a_zip_may_be_in_a_subfolder(
    checkpoint: MakeCheckpoint, tmp_path: Path, destination: Path, kind: str, nested: bool
) -> None:
    root, inside = (checkpoint(kind).parent, kind) if nested else (checkpoint(kind), ".")
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", root, inside)
    manifest = import_checkpoint(archive, destination)
    assert (manifest.name, manifest.task) == ("model", TASKS[kind][0])
    verify(destination, manifest.task)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("kind", ["extractor", "classifier", "bi-encoder", "static", "cross-encoder"])
def test_pickled_weights_are_converted_to_safetensors(
    source: Callable[[str], Path], imported: MakeCheckpoint, destination: Path, kind: str
) -> None:
    import_checkpoint(str(pickle_weights(source(kind))), destination)
    assert list(destination.rglob("*.bin")) == []
    assert read_manifest(destination).golden == read_manifest(imported(kind)).golden


@pytest.mark.usefixtures("untraced")
def test_other_files_of_a_trainer_are_ignored(source: Callable[[str], Path], destination: Path, tmp_path: Path) -> None:
    folder = source("classifier")
    plain_pickle(folder / "training_args.bin", Planted(tmp_path / "ran"))
    plain_pickle(folder / "optimizer.pt", Planted(tmp_path / "ran"))
    assert import_checkpoint(str(folder), destination).task == "cola"
    assert sorted(path.name for path in destination.iterdir()) == [
        "config.json",
        MANIFEST,
        WEIGHTS,
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["classifier", "bi-encoder"])
def test_an_import_whose_export_fails_has_the_same_digest_and_gives_the_reason(
    imported: MakeCheckpoint,
    checkpoint: MakeCheckpoint,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    def fail(*_: object) -> Path:
        raise MemoryError("no memory left")

    traced = read_manifest(imported(kind))
    monkeypatch.setattr(onnx_export, "write_onnx", fail)
    manifest = import_checkpoint(str(checkpoint(kind)), destination)
    assert set(traced.files) - set(manifest.files) == {"model.onnx"}
    assert manifest.ref == traced.ref
    assert (manifest.untraced, traced.untraced) == ("no memory left", None)
    assert verify(destination, manifest.task) == manifest
    assert f"{kind} is served by PyTorch because it can't be traced: no memory left" in caplog.messages


@pytest.mark.usefixtures("untraced")
def test_an_import_with_another_build_of_pytorch_has_the_same_digest(
    imported: MakeCheckpoint, checkpoint: MakeCheckpoint, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_manifest(imported("bi-encoder"))
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    assert import_checkpoint(str(checkpoint("bi-encoder")), destination).ref == expected.ref


def test_a_checkpoint_in_the_format_is_copied_unchanged(imported: MakeCheckpoint, destination: Path) -> None:
    manifest = import_checkpoint(str(imported("static")), destination)
    assert manifest == read_manifest(imported("static")) == verify(destination, "sts")


def test_a_damaged_checkpoint_in_the_format_is_not_copied(
    imported: MakeCheckpoint, tmp_path: Path, destination: Path
) -> None:
    folder = copy(imported("static"), tmp_path / "source")
    cut(folder / WEIGHTS, 50)
    refused(folder, destination, CheckpointDamaged, WEIGHTS)
    (folder / MANIFEST).write_text("{")
    refused(folder, destination, CheckpointDamaged, MANIFEST)
