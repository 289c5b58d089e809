import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.checkpoints.in_process import load_model
from pipelines.engines.model_stage import ModelStage, Outcome, in_process, in_process_model
from pipelines.engines.settings import EngineSettings
from pipelines.errors import EngineError
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts.embeddings import Embedding, EmbeddingPipeline
from pipelines.text.token_batch import TokenBatch
from tests.conftest import MakeCheckpoint

TEXTS = ["오늘 과제는 코딩 과제입니다.", "안녕하세요", "오늘 과제는 코딩 과제입니다."]


def pipeline(imported: MakeCheckpoint, kind: str, encode: ModelStage | None = None) -> EmbeddingPipeline:
    folder = imported(kind)
    manifest = read_manifest(folder)
    stage = encode or in_process_model(load_model(folder, manifest, EngineSettings()))
    return EmbeddingPipeline(in_process(TextTokenizer.load(folder, manifest).passages), stage, role="query")


def embed(embeds: EmbeddingPipeline, texts: Sequence[str]) -> list[object]:
    async def scenario() -> list[object]:
        return list(await embeds(texts))

    return asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["bi-encoder", "static"])
def test_each_text_has_an_embedding_of_unit_length_as_alone(imported: MakeCheckpoint, kind: str) -> None:
    embeds = pipeline(imported, kind)
    together = embed(embeds, TEXTS)
    for text, embedding in zip(TEXTS, together, strict=True):
        alone = embed(embeds, [text])[0]
        assert isinstance(embedding, Embedding)
        assert isinstance(alone, Embedding)
        assert embedding.vector.dtype == np.float32
        assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(embedding.vector, alone.vector, atol=1e-5)
        assert embedding.checkpoint == read_manifest(imported(kind)).digest
    assert embed(embeds, []) == []


def test_a_cross_encoder_embeds_nothing_and_is_not_asked(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        raise AssertionError("asked")

    assert embed(pipeline(imported, "cross-encoder", encode), TEXTS) == [None] * 3


def test_a_text_that_fails_has_its_own_error(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.ones((2, 4), dtype=np.float32), {1: EngineError("RuntimeError")})

    first, second, third = embed(pipeline(imported, "bi-encoder", encode), TEXTS)
    assert isinstance(second, EngineError)
    assert isinstance(first, Embedding)
    assert isinstance(third, Embedding)


def test_where_all_fail_each_has_its_error(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.array([]), {item: EngineError("RuntimeError") for item in range(len(batch))})

    assert [type(one) for one in embed(pipeline(imported, "bi-encoder", encode), TEXTS)] == [EngineError] * 3
