import asyncio

import numpy as np
import pytest

from pipelines.checkpoints.in_process import load_pipeline
from pipelines.cola.pipeline import Acceptability, ColaPipeline
from pipelines.engines.model_stage import Outcome, in_process
from pipelines.errors import EngineError, MunjangError
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

PASSAGES = ["I are a boy", "The museum", "a " * MAX_TOKENS, "I are a boy"]


async def ask(pipeline: ColaPipeline, passages: list[str]) -> list[Acceptability | MunjangError]:
    return await pipeline(passages)


def test_results_come_in_the_order_of_the_passages(imported: MakeCheckpoint) -> None:
    pipeline = load_pipeline(imported("classifier"), "cola")
    together = asyncio.run(ask(pipeline, PASSAGES))
    alone = [asyncio.run(ask(pipeline, [passage]))[0] for passage in PASSAGES]
    probabilities = [[result.probability for result in results] for results in (together, alone)]  # type: ignore[union-attr]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)
    assert [result.truncated for result in together] == [False, False, True, False]  # type: ignore[union-attr]
    assert len(set(probabilities[0])) == 3


def test_no_passages_give_no_results(imported: MakeCheckpoint) -> None:
    assert asyncio.run(ask(load_pipeline(imported("classifier"), "cola"), [])) == []


@pytest.mark.parametrize("failed", [[0], [1, 3], [0, 1, 2, 3]])
def test_only_failed_passages_fail(imported: MakeCheckpoint, failed: list[int]) -> None:
    errors: dict[int, MunjangError] = {item: EngineError(f"number {item}") for item in failed}

    async def classify(batch: TokenBatch) -> Outcome:
        good = [item for item in range(len(batch)) if item not in errors]
        return Outcome(np.array([item / 10 for item in good], dtype=np.float64), errors)

    folder = imported("classifier")
    text = TextTokenizer.load(folder, read_manifest(folder))
    results = asyncio.run(ask(ColaPipeline(in_process(text.passages), classify), PASSAGES))
    tokens = text.passages(PASSAGES)
    digest = tokens.checkpoint.digest
    expected = [
        errors.get(item) or Acceptability(item / 10, item == 2, False, int(tokens.lengths[item]), digest)
        for item in range(4)
    ]
    assert results == expected
