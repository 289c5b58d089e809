import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipelines.checkpoints.in_process import load_model, load_pipeline
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import ModelStage, Outcome, in_process, in_process_model
from pipelines.errors import EngineError, MunjangError
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts.model import load
from pipelines.sts.pipeline import Embedding, EmbeddingPipeline, Pair, Similarity, StsPipeline
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

KINDS = ["bi-encoder", "static", "cross-encoder"]
PAIRS = [("가", "나"), ("오늘 과제", "오늘 과제"), ("나", "가"), ("The museum", "가"), ("가", "나")]
BOOM = EngineError("RuntimeError")

Make = Callable[..., StsPipeline]


@pytest.fixture
def make(imported: MakeCheckpoint) -> Make:
    def make(kind: str, threshold: float | None = None, encode: ModelStage | None = None) -> StsPipeline:
        folder = imported(kind)
        manifest = read_manifest(folder)
        text = TextTokenizer.load(folder, manifest)
        run = encode or in_process_model(load(folder, manifest, EngineSettings()))
        return StsPipeline(in_process(text.sentence_pairs), run, threshold=threshold)

    return make


def ask(pipeline: StsPipeline, pairs: list[Pair]) -> list[Similarity]:
    results = asyncio.run(_await(pipeline, pairs))
    assert not any(isinstance(result, MunjangError) for result in results)
    return results  # type: ignore[return-value]


async def _await(pipeline: StsPipeline, pairs: list[Pair]) -> list[Similarity | MunjangError]:
    return await pipeline(pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_the_order_of_the_pairs(make: Make, kind: str) -> None:
    together = ask(make(kind), PAIRS)
    alone = [ask(make(kind), [pair])[0] for pair in PAIRS]
    assert [result.score for result in together] == pytest.approx([result.score for result in alone], abs=1e-5)
    assert together[0].score == pytest.approx(together[4].score, abs=1e-6)


@pytest.mark.parametrize("kind", ["bi-encoder", "static"])
def test_a_sentence_has_cosine_1_with_itself_and_the_order_in_a_pair_does_not_matter(make: Make, kind: str) -> None:
    results = ask(make(kind), PAIRS)
    assert results[1].score == pytest.approx(1.0, abs=1e-6)
    assert all(-1 <= result.score <= 1 for result in results)
    assert results[0].score == pytest.approx(results[2].score, abs=1e-6)


def test_each_different_sentence_is_encoded_once(make: Make) -> None:
    sizes = []

    async def encode(batch: TokenBatch) -> Outcome:
        sizes.append(len(batch))
        return Outcome(np.eye(len(batch), 4, dtype=np.float32))

    assert [result.score for result in ask(make("bi-encoder", encode=encode), PAIRS)] == [0, 1, 0, 0, 0]
    assert sizes == [4]


@pytest.mark.parametrize(
    ("threshold", "similar"), [(None, [False, True]), (0.5, [True, True]), (0.51, [False, True]), (1.1, [False, False])]
)
def test_the_threshold_setting_overrides_that_of_the_manifest(
    make: Make, threshold: float | None, similar: list[bool]
) -> None:
    rows = np.array([[1, 0], [0.5, 3**0.5 / 2]], dtype=np.float32)

    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(rows)

    results = ask(make("bi-encoder", threshold, encode), [("가", "나"), ("가", "가")])
    assert [result.similar for result in results] == similar  # the manifest says 0.6


def test_a_threshold_setting_of_zero_is_not_ignored(make: Make) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.full(len(batch), 1.0, dtype=np.float32))

    assert not ask(make("cross-encoder", None, encode), PAIRS)[0].similar  # the manifest says 3.0
    assert ask(make("cross-encoder", 0.0, encode), PAIRS)[0].similar


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_with_a_cut_text_are_marked_as_truncated(make: Make, kind: str) -> None:
    results = ask(make(kind), [("가", "나"), ("가 " * MAX_TOKENS, "나")])
    assert [result.truncated for result in results] == [False, kind != "static"]


def test_only_the_pairs_of_a_failed_sentence_fail(make: Make) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.ones((len(batch) - 1, 4), dtype=np.float32) / 2, {1: BOOM})

    results = asyncio.run(_await(make("bi-encoder", encode=encode), PAIRS))
    assert [isinstance(result, EngineError) for result in results] == [True, False, True, False, True]
    assert (results[1].score, results[1].similar, results[1].truncated) == (1.0, True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_if_every_sentence_fails_every_pair_fails(make: Make, kind: str) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.array([]), dict.fromkeys(range(len(batch)), BOOM))

    assert asyncio.run(_await(make(kind, encode=encode), PAIRS)) == [BOOM] * len(PAIRS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_pairs_give_no_results(make: Make, kind: str) -> None:
    assert ask(make(kind), []) == []


def test_the_pipeline_is_loaded_from_a_folder(imported: MakeCheckpoint) -> None:
    assert ask(load_pipeline(imported("static"), "sts"), PAIRS)[1].similar


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
def test_each_text_has_the_same_unit_length_embedding_in_a_batch_and_alone(imported: MakeCheckpoint, kind: str) -> None:
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


def test_a_cross_encoder_gives_no_embeddings_and_is_not_run(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        raise AssertionError("the model was run")

    assert embed(pipeline(imported, "cross-encoder", encode), TEXTS) == [None] * 3


def test_only_a_failed_text_has_an_error(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.ones((2, 4), dtype=np.float32), {1: EngineError("RuntimeError")})

    first, second, third = embed(pipeline(imported, "bi-encoder", encode), TEXTS)
    assert isinstance(second, EngineError)
    assert isinstance(first, Embedding)
    assert isinstance(third, Embedding)


def test_if_every_text_fails_each_has_its_error(imported: MakeCheckpoint) -> None:
    async def encode(batch: TokenBatch) -> Outcome:
        return Outcome(np.array([]), {item: EngineError("RuntimeError") for item in range(len(batch))})

    assert [type(one) for one in embed(pipeline(imported, "bi-encoder", encode), TEXTS)] == [EngineError] * 3
