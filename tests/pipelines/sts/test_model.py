import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder as TheirCrossEncoder
from sentence_transformers import SentenceTransformer

from pipelines.engines.choice import Backend, Dtype, EngineSettings
from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import Activation, Scale, read_manifest
from pipelines.format.tokenizer import SentencePairs, TextTokenizer
from pipelines.sts.model import BiEncoder, CrossEncoder, load
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

TEXTS = ["오늘 과제는 코딩 과제입니다.", "The museum is in Busan.", "", "값 " * (MAX_TOKENS + 40), "각낱말 ABC", "a"]
PAIRS = [*zip(TEXTS, reversed(TEXTS), strict=True), ("값 " * 90, "나 " * 90)]
BI_ENCODERS = ["bi-encoder", "static", "bare-encoder"]

on_both_backends = pytest.mark.parametrize("backend", ["torch", "onnx"])


def tokens_of(folder: Path, pairs: list[tuple[str, str]]) -> SentencePairs:
    return TextTokenizer.load(folder, read_manifest(folder)).sentence_pairs(pairs)


def model_of(
    folder: Path, backend: Backend | Literal["auto"] = "auto", dtype: Dtype = "float32"
) -> BiEncoder | CrossEncoder:
    return load(folder, read_manifest(folder), EngineSettings(device="cpu", backend=backend, dtype=dtype))


@on_both_backends
@pytest.mark.parametrize("kind", [*BI_ENCODERS, "shipped sts"])
def test_embeddings_are_those_of_sentence_transformers(served: MakeCheckpoint, kind: str, backend: Backend) -> None:
    folder = served(kind)
    in_float32 = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    theirs = in_float32.encode(TEXTS, normalize_embeddings=True)
    tokens = tokens_of(folder, [(text, text) for text in TEXTS]).tokens
    ours = model_of(folder, backend).run(tokens)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@on_both_backends
def test_the_folder_before_the_import_gives_the_same_embeddings(
    checkpoint: MakeCheckpoint, imported: MakeCheckpoint, backend: Backend
) -> None:
    for kind in ("bi-encoder", "static"):
        theirs = SentenceTransformer(str(checkpoint(kind)), device="cpu").encode(TEXTS, normalize_embeddings=True)
        tokens = tokens_of(imported(kind), [(text, text) for text in TEXTS]).tokens
        np.testing.assert_allclose(model_of(imported(kind), backend).run(tokens), theirs, rtol=0, atol=1e-5)


@on_both_backends
@pytest.mark.parametrize("kind", [*BI_ENCODERS, "shipped sts"])
def test_a_batch_gives_the_same_embeddings_as_single_sentences(
    served: MakeCheckpoint, kind: str, backend: Backend
) -> None:
    tokens = tokens_of(served(kind), PAIRS).tokens
    model = model_of(served(kind), backend)
    alone = [model.run(TokenBatch.take([(tokens, i)]))[0] for i in range(len(tokens))]
    np.testing.assert_allclose(model.run(tokens), alone, rtol=0, atol=1e-5)


@on_both_backends
def test_a_text_without_tokens_has_a_zero_embedding(imported: MakeCheckpoint, backend: Backend) -> None:
    model = model_of(imported("static"), backend)
    tokens = tokens_of(imported("static"), [("", "")]).tokens
    assert tokens.lengths.tolist() == [0]
    assert (model.run(tokens) == 0).all()
    among_others = model.run(tokens_of(imported("static"), [("오늘 과제", ""), ("museum", "a")]).tokens)
    np.testing.assert_allclose(np.linalg.norm(among_others, axis=1), [1, 0, 1, 1], rtol=0, atol=1e-5)


@on_both_backends
def test_cross_encoder_scores_are_those_of_sentence_transformers_clipped_to_0_to_5(
    imported: MakeCheckpoint, backend: Backend
) -> None:
    folder = imported("cross-encoder")
    theirs = TheirCrossEncoder(str(folder), device="cpu").predict(PAIRS, activation_fn=torch.nn.Identity())
    tokenized = tokens_of(folder, PAIRS)
    ours = model_of(folder, backend).run(tokenized.tokens)[tokenized.rows[:, 0]]
    assert ours.shape == (len(PAIRS),)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.clip(theirs, 0, 5), rtol=0, atol=1e-5)
    assert len(set(ours.tolist())) > 2


@on_both_backends
def test_outputs_of_a_cross_encoder_trained_with_a_sigmoid_are_multiplied_by_5(
    checkpoint: MakeCheckpoint, imported: MakeCheckpoint, backend: Backend
) -> None:
    kind = "cross-encoder-sigmoid"
    tokenized = tokens_of(imported(kind), PAIRS)
    ours = model_of(imported(kind), backend).run(tokenized.tokens)[tokenized.rows[:, 0]]
    for folder in (checkpoint(kind), imported(kind)):
        theirs = TheirCrossEncoder(str(folder), device="cpu").predict(PAIRS)
        np.testing.assert_allclose(ours, 5 * theirs, rtol=0, atol=5e-5)


@on_both_backends
@pytest.mark.parametrize("kind", ["cross-encoder", "cross-encoder-sigmoid"])
def test_a_batch_gives_the_same_scores_as_single_pairs(imported: MakeCheckpoint, kind: str, backend: Backend) -> None:
    tokens = tokens_of(imported(kind), PAIRS).tokens
    model = model_of(imported(kind), backend)
    alone = [model.run(TokenBatch.take([(tokens, i)]))[0] for i in range(len(tokens))]
    np.testing.assert_allclose(model.run(tokens), alone, rtol=0, atol=1e-5)


def test_extreme_logits_give_scores_0_and_5(imported: MakeCheckpoint) -> None:
    class ExtremeEngine:
        name = "extreme"

        def outputs(self, batch: TokenBatch, *names: str) -> tuple[np.ndarray, ...]:
            return (np.array([[-500], [0], [500]], dtype=np.float32),)

    tokens = tokens_of(imported("cross-encoder"), PAIRS).tokens
    ways: list[tuple[Activation, Scale, list[float]]] = [
        ("sigmoid", (0, 1), [0, 2.5, 5]),
        ("tanh", (-1, 1), [0, 2.5, 5]),
        ("identity", (0, 5), [0, 0, 5]),
        ("identity", (-10, 10), [0, 2.5, 5]),
        ("identity", (-400, 100), [0, 4, 5]),
    ]
    for activation, scale, scores in ways:
        model = CrossEncoder(ExtremeEngine(), activation=activation, scale=scale)  # type: ignore[arg-type]
        assert model.run(tokens).tolist() == pytest.approx(scores)


@pytest.mark.parametrize("kind", ["cross-encoder", "cross-encoder-sigmoid"])
def test_a_manifest_without_activation_and_scale_is_served_as_config_json_says(
    imported: MakeCheckpoint, kind: str
) -> None:
    folder = imported(kind)
    older = read_manifest(folder).model_copy(update={"activation": None, "scale": None})
    tokens = tokens_of(folder, PAIRS).tokens
    settings = EngineSettings(device="cpu", backend="torch", dtype="float32")
    np.testing.assert_array_equal(load(folder, older, settings).run(tokens), model_of(folder, "torch").run(tokens))


@pytest.mark.parametrize(("kind", "atol"), [(kind, 0.05) for kind in BI_ENCODERS] + [("cross-encoder", 0.3)])
def test_bfloat16_gives_nearly_the_same_results(imported: MakeCheckpoint, kind: str, atol: float) -> None:
    tokens = tokens_of(imported(kind), PAIRS).tokens
    dtypes: tuple[Dtype, Dtype] = ("bfloat16", "float32")
    rough, exact = (model_of(imported(kind), "torch", dtype).run(tokens) for dtype in dtypes)
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=atol)


@on_both_backends
@pytest.mark.parametrize("kind", ["bi-encoder", "static", "cross-encoder"])
def test_a_truncated_weights_file_is_refused(
    imported: MakeCheckpoint, tmp_path: Path, kind: str, backend: Backend
) -> None:
    folder = Path(shutil.copytree(imported(kind), tmp_path / "copy"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(CheckpointDamaged, match="copy"):
        model_of(folder, backend)
