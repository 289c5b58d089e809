import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding

from pipelines.checkpoints import finish as finishing
from pipelines.checkpoints import golden, in_process
from pipelines.checkpoints.finish import finish, quantize
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.tasks.definition import Examples
from pipelines.engines import onnx_export, quantization
from pipelines.engines.choice import EngineSettings, choose
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.manifest import MANIFEST, Manifest, hash_file, read_manifest, verify, write_manifest
from tests.checkpoint_factory import make_base, wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_weights

INT8 = "model.int8.onnx"
ONNX_ON_CPU = EngineSettings(device="cpu", backend="onnx")
TEXTS = [f"{letter} the museum {letter * count}" for letter in "abcdefghijklmnopqrstuvwxyz" for count in (1, 7)]


@pytest.fixture
def folder(steady: Path, tmp_path: Path) -> Path:
    return copy(steady, tmp_path / "checkpoint")


def examples(folder: Path, texts: list[str] = TEXTS, name: str = "own answers") -> Examples:
    """Examples whose labels are the checkpoint's own clear answers in float32, so that float32 scores 1."""
    pipeline = in_process.load_pipeline(folder, "cola", EngineSettings(device="cpu", backend="torch", dtype="float32"))
    asked = [(text, result.probability) for text, result in zip(texts, asyncio.run(pipeline(texts)), strict=True)]
    clear = [(text, probability >= 0.5) for text, probability in asked if abs(probability - 0.5) > 0.05]
    return Examples(name, "cola", [text for text, _ in clear], [acceptable for _, acceptable in clear])


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hash_file(path) for path in folder.rglob("*") if path.is_file()}


def test_an_int8_graph_that_passes_is_added_with_both_scores(folder: Path) -> None:
    before = read_manifest(folder)
    manifest = quantize(folder, before, examples(folder), examples(folder, name="a dev set"))
    assert manifest == read_manifest(folder) == verify(folder, "cola")
    assert manifest.int8 is not None
    assert (manifest.int8.metric, manifest.int8.dev, manifest.int8.float32) == ("Matthews", "a dev set", 1)
    assert manifest.int8.int8 >= 0.995
    assert set(manifest.files) - set(before.files) == {INT8}
    assert manifest.model_copy(update={"int8": None, "files": before.files}) == before
    assert choose(folder, manifest, EngineSettings(device="cpu", dtype="int8")).name == "onnx int8 on cpu"
    model = in_process.load_model(folder, manifest, EngineSettings(device="cpu", dtype="int8"))
    golden.check(folder, manifest, model)


def saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrate on ranges a hundred times smaller than the real ones."""
    measure = quantization.ranges

    def shrunk(*args: Any) -> dict[str, tuple[float, float]]:
        return {name: (low / 100, high / 100) for name, (low, high) in measure(*args).items()}

    monkeypatch.setattr(quantization, "ranges", shrunk)


def test_an_int8_graph_that_loses_points_is_refused_with_both_scores_and_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, dev = files_of(folder), examples(folder)
    saturate(monkeypatch)
    with pytest.raises(CheckpointUnsupported) as caught:
        quantize(folder, read_manifest(folder), dev, dev)
    assert caught.value.where == str(folder)
    assert "int8 loses more than 0.5 points: Matthews " in caught.value.why
    assert caught.value.why.endswith(", in float32 1.0000, on own answers")
    assert files_of(folder) == before


def test_an_int8_graph_that_loses_points_does_not_replace_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = examples(folder)
    manifest = quantize(folder, read_manifest(folder), dev, dev)
    before = files_of(folder)
    saturate(monkeypatch)
    with pytest.raises(CheckpointUnsupported):
        quantize(folder, manifest, dev, dev)
    assert files_of(folder) == before
    assert verify(folder, "cola") == manifest


def test_an_int8_graph_with_another_golden_answer_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder)
    moved = [one.model_copy(update={"output": float(one.output) / 2}) for one in manifest.golden]
    manifest = write_manifest(folder, manifest.model_copy(update={"golden": moved}))
    before, dev = files_of(folder), examples(folder)
    with pytest.raises(CheckpointUnsupported, match=r"golden input 0 should give .* in float32 1\.0000"):
        quantize(folder, manifest, dev, dev)
    assert files_of(folder) == before


@pytest.mark.parametrize("where", ["_quantize_weights", "ranges", "share_weights"])
def test_an_error_leaves_the_folder_unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    before, dev = files_of(folder), examples(folder)
    monkeypatch.setattr(quantization, where, fail)
    with pytest.raises(CheckpointDamaged, match="MemoryError"):
        quantize(folder, read_manifest(folder), dev, dev)
    assert files_of(folder) == before


def test_an_interruption_leaves_the_folder_unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> float:
        raise KeyboardInterrupt

    before, dev = files_of(folder), examples(folder)
    monkeypatch.setattr(finishing, "score", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quantize(folder, read_manifest(folder), dev, dev)
    assert files_of(folder) == before


def test_a_score_of_nan_does_not_pass(imported: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy(imported("cross-encoder"), tmp_path / "checkpoint")
    before = files_of(folder)
    same = Examples("constant", "sts", [("a", "b"), ("b", "a"), ("a", "c")], [2.0, 2.0, 2.0])
    with pytest.raises(CheckpointUnsupported, match="nan"), pytest.warns(RuntimeWarning, match="constant"):
        quantize(folder, read_manifest(folder), same, same)
    assert files_of(folder) == before


@pytest.mark.parametrize(("calibration", "dev"), [(0, 50), (50, 0), (50, 1)])
def test_too_few_examples_are_refused(folder: Path, calibration: int, dev: int) -> None:
    with pytest.raises(CheckpointUnsupported, match="too few examples"):
        quantize(
            folder, read_manifest(folder), *(Examples("x", "cola", TEXTS[:n], [True] * n) for n in (calibration, dev))
        )


def test_an_int8_graph_needs_a_float32_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    manifest = write_manifest(folder, read_manifest(folder))
    with pytest.raises(CheckpointUnsupported, match="no ONNX graph"):
        quantize(folder, manifest, examples(folder), examples(folder))


def draft_of(folder: Path) -> Manifest:
    return read_manifest(folder).model_copy(update={"files": {}, "golden": [], "int8": None})


def test_graphs_of_earlier_weights_are_replaced_or_deleted(folder: Path) -> None:
    """This happens when a training run overwrites an earlier one."""
    dev = examples(folder)
    quantize(folder, read_manifest(folder), dev, dev)
    stale = (folder / "model.onnx").read_bytes()
    edit_weights(folder, lambda weights: weights["bert.embeddings.word_embeddings.weight"].mul_(-1))
    edit_weights(folder, lambda weights: weights["classifier.weight"].mul_(0.5))
    manifest = finish(folder, draft_of(folder))
    assert INT8 not in manifest.files
    assert not (folder / INT8).exists()
    assert (folder / "model.onnx").read_bytes() != stale
    golden.check(folder, manifest, in_process.load_model(folder, manifest, ONNX_ON_CPU), tolerance=1e-3)


def test_finish_logs_a_warning_if_int8_does_not_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dev = examples(folder)
    saturate(monkeypatch)
    manifest = finish(folder, draft_of(folder), dev, dev)
    assert manifest == verify(folder, "cola")
    assert "model.onnx" in manifest.files
    assert (manifest.int8, manifest.untraced) == (None, None)
    assert "int8 loses more than 0.5 points: Matthews" in caplog.text


def save_untraceable(folder: Path) -> Path:
    """Save static embeddings with a further layer."""
    tokenizer = wordpiece(make_base(folder / "base"))
    torch.manual_seed(0)
    modules = [StaticEmbedding(tokenizer, embedding_dim=32), Dense(32, 16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "source"), create_model_card=False)
    return folder / "source"


def test_a_model_that_can_not_be_traced_is_served_by_torch_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = import_checkpoint(str(save_untraceable(tmp_path)), tmp_path / "to")
    assert not any(name.endswith(".onnx") for name in manifest.files)
    assert choose(tmp_path / "to", manifest, EngineSettings(device="cpu")).name == "torch float32 on cpu"
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert "served by PyTorch because it can't be traced" in warning.message
    assert manifest.untraced == "static embeddings with further modules are not traced"
    assert manifest.untraced in warning.message
    pipeline = in_process.load_pipeline(tmp_path / "to", "sts", EngineSettings(device="cpu"))
    pair = ("오늘 과제", "the museum")
    left, right = SentenceTransformer(str(tmp_path / "source"), device="cpu").encode(
        list(pair), normalize_embeddings=True
    )
    (similarity,) = asyncio.run(pipeline([pair]))
    assert similarity.score == pytest.approx(float(np.dot(left, right)), abs=1e-5)


def test_a_graph_with_other_answers_than_torch_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trace = onnx_export._trace

    def wrong_trace(module: torch.nn.Module, *args: Any) -> Any:
        with torch.no_grad():
            module.model.classifier.weight.mul_(-1)  # type: ignore[union-attr,operator]
        return trace(module, *args)

    monkeypatch.setattr(onnx_export, "_trace", wrong_trace)
    manifest = finish(folder, draft_of(folder))
    assert "model.onnx" not in manifest.files
    assert not (folder / "model.onnx").exists()
    assert "golden input 0 should give" in caplog.text
    assert verify(folder, "cola") == manifest


def test_a_checkpoint_without_graph_and_int8_field_is_served_by_torch(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    content = write_manifest(folder, read_manifest(folder)).model_dump(mode="json")
    del content["int8"]
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    manifest = verify(folder, "cola")
    assert choose(folder, manifest, EngineSettings(device="cpu")).name == "torch float32 on cpu"
    golden.check(folder, manifest, in_process.load_model(folder, manifest, EngineSettings(device="cpu")))


def test_a_model_that_fails_on_the_golden_inputs_is_unsupported(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.update({"bert.embeddings.word_embeddings.weight": torch.ones(6, 32)}))
    content = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(re.sub(r'"vocab_size": \d+', '"vocab_size": 6', content), encoding="utf-8")
    with pytest.raises(CheckpointUnsupported, match="index out of range"):
        finish(folder, draft_of(folder))
