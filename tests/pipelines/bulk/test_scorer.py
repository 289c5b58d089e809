import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pipelines.bulk.scorer import Scorer
from pipelines.bulk.tasks import BULK_TASKS
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import in_process, in_process_model
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import verify
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts import model as sts_model
from pipelines.sts.pipeline import EmbeddingPipeline
from tests.conftest import MakeCheckpoint

TEXTS = [f"오늘 과제는 {'코딩 ' * (number % 9)}과제입니다. {number}" for number in range(40)]
ITEMS: dict[str, list[Any]] = {
    "sts": list(zip(TEXTS, reversed(TEXTS), strict=True)),
    "cola": TEXTS,
    "qa": [(f"{number}번은?", " ".join(TEXTS[number:])) for number in range(10)],
}


def load(served: MakeCheckpoint, kind: str, task: str, settings: EngineSettings | None = None) -> Scorer:
    folder = served(kind)
    manifest = verify(folder, BULK_TASKS[task].checkpoint)
    return Scorer.load(folder, manifest, BULK_TASKS[task], settings or EngineSettings(), "document")


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("bi-encoder", "sts"),
        ("cross-encoder", "sts"),
        ("classifier", "cola"),
        ("extractor", "qa"),
        ("shipped qa", "qa"),
    ],
)
def test_results_are_those_of_the_pipeline_without_batches(served: MakeCheckpoint, kind: str, task: str) -> None:
    results = load(served, kind, task).results(ITEMS[task])
    pipeline = load_pipeline(served(kind), task)  # type: ignore[arg-type]
    expected = [asyncio.run(_one(pipeline, item)) for item in ITEMS[task]]
    added = BULK_TASKS[task].result
    for result, alone in zip(results, expected, strict=True):
        assert list(added(result).values()) == pytest.approx(list(added(alone).values()), abs=1e-4)


async def _one(pipeline: Any, item: Any) -> Any:
    (result,) = await pipeline([item])
    return result


def test_embeddings_are_those_of_the_chat(served: MakeCheckpoint) -> None:
    folder = served("bi-encoder")
    manifest = verify(folder, "sts")
    model = sts_model.load(folder, manifest, EngineSettings())
    tokenize = in_process(TextTokenizer.load(folder, manifest).passages)
    pipeline = EmbeddingPipeline(tokenize, in_process_model(model), role="document")
    results = load(served, "bi-encoder", "embeddings").results(TEXTS)
    for text, result in zip(TEXTS, results, strict=True):
        expected = asyncio.run(_one(pipeline, text)).vector
        assert np.allclose(BULK_TASKS["embeddings"].result(result)["embedding"], expected, atol=1e-5)


def test_a_cross_encoder_makes_no_embeddings(served: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported, match="is a cross-encoder; only a bi-encoder makes embeddings"):
        load(served, "cross-encoder", "embeddings")


def test_threads_share_a_model_with_a_tokenizer_each(served: MakeCheckpoint) -> None:
    scorer = load(served, "bi-encoder", "sts", EngineSettings(slots=2))
    expected = scorer.results(ITEMS["sts"])
    with ThreadPoolExecutor(4) as threads:
        for results in threads.map(scorer.results, [ITEMS["sts"]] * 8):
            assert [result.score for result in results] == [result.score for result in expected]
