import numpy as np
import pytest

from pipelines.chat import embedding
from pipelines.chat.embedding import Embedder
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import read_manifest
from tests.conftest import MakeCheckpoint

TEXTS = ["오늘 과제는 코딩 과제입니다.", "안녕", "저도 그 의견 좋습니다. 안녕하세요", "값", "museum"]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["static", "bi-encoder"])
async def test_cosines_equal_those_of_the_served_pipeline(imported: MakeCheckpoint, kind: str) -> None:
    pipeline = load_pipeline(imported(kind), "sts")
    vectors = Embedder.load(imported(kind)).embed(TEXTS, "document")
    served = [result.score for result in await pipeline([(TEXTS[0], text) for text in TEXTS])]
    assert vectors @ vectors[0] == pytest.approx(served, abs=1e-5)


def test_the_order_of_texts_does_not_depend_on_batches(
    imported: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder.load(imported("bi-encoder"))
    alone = np.concatenate([embedder.embed([text], "document") for text in TEXTS])
    for tokens in (1, 8, 40):
        monkeypatch.setattr(embedding, "BATCH_TOKENS", tokens)
        np.testing.assert_allclose(embedder.embed(TEXTS, "document"), alone, atol=1e-5)


def test_vectors_have_unit_length_and_name_their_checkpoint(imported: MakeCheckpoint) -> None:
    embedder = Embedder.load(imported("static"))
    vectors = embedder.embed(TEXTS, "document")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.checkpoint == read_manifest(imported("static")).digest


def test_a_cross_encoder_is_refused(imported: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported, match="gives no embeddings"):
        Embedder.load(imported("cross-encoder"))
