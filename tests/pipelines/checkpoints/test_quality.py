from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints import in_process
from pipelines.checkpoints.quality import PORTION, score
from pipelines.checkpoints.tasks.definition import Examples
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.cola.pipeline import Acceptability
from pipelines.engines.choice import EngineSettings
from pipelines.errors import EngineError
from pipelines.format.manifest import Manifest, read_manifest
from pipelines.qa.data import Example
from pipelines.sts.data import ScoredPair
from tests.conftest import MakeCheckpoint

COLA = Manifest(name="x", task="cola", kind="classifier", threshold=0.5)


def answering(*results: Any) -> Any:
    """A pipeline that ignores its inputs and gives these results in order."""
    waiting = list(results)

    async def pipeline(inputs: Sequence[Any]) -> list[Any]:
        return [waiting.pop(0) for _ in inputs]

    return pipeline


def judged(*expected: bool) -> Examples:
    return Examples("dev", "cola", [str(number) for number in range(len(expected))], expected)


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 1.0), (0.0, 0.0), (0.95, 0.5773502691896258), (None, 1.0)])
def test_acceptability_is_judged_at_the_checkpoints_threshold(threshold: float | None, expected: float) -> None:
    pipeline = answering(*(Acceptability(probability, False) for probability in (0.9, 0.1, 0.99, 0.2)))
    manifest = COLA.model_copy(update={"threshold": threshold})
    assert score(pipeline, manifest, judged(True, False, True, False)) == pytest.approx(expected)


def test_many_examples_are_scored_in_portions_and_in_order() -> None:
    count = 2 * PORTION + 5
    truth = [number % 3 == 0 for number in range(count)]
    pipeline = answering(*(Acceptability(float(one), False) for one in truth))
    assert score(pipeline, COLA, judged(*truth)) == pytest.approx(1)


def test_the_error_of_an_input_is_raised() -> None:
    pipeline = answering(Acceptability(0.9, False), EngineError("RuntimeError"))
    with pytest.raises(EngineError):
        score(pipeline, COLA, judged(True, False))


@pytest.mark.parametrize("task", ["sts", "cola", "qa"])
def test_a_checkpoint_with_only_correct_answers_scores_1(imported: MakeCheckpoint, task: str) -> None:
    """Uses the real pipelines; their own answers are the expected ones."""
    folder = imported({"sts": "static", "cola": "classifier", "qa": "extractor"}[task])
    manifest = read_manifest(folder)
    pipeline = in_process.load_pipeline(folder, manifest.task, EngineSettings(device="cpu"))
    examples = own_answers(folder, manifest)
    assert score(pipeline, manifest, examples) == pytest.approx(1, abs=1e-6)


def own_answers(folder: Path, manifest: Manifest) -> Examples:
    import asyncio

    pipeline = in_process.load_pipeline(folder, manifest.task, EngineSettings(device="cpu", backend="torch"))
    match manifest.task:
        case "sts":
            pairs = [("오늘 과제", "오늘 회의"), ("museum", "the ship"), ("과제", "과제")]
            results = asyncio.run(pipeline(pairs))
            rows = [ScoredPair(*pair, result.score) for pair, result in zip(pairs, results, strict=True)]
            return TASKS["sts"].examples("own", rows)
        case "cola":
            texts = [f"{letter} the museum {letter * 3}" for letter in "abcdefghijklmnopqrstuvwxyz"]
            results = asyncio.run(pipeline(texts))
            return Examples("own", "cola", texts, [result.probability >= 0.5 for result in results])
        case "qa":
            asked = [("who?", "The museum is in Busan."), ("어디?", "오늘 회의는 부산에서")]
            results = asyncio.run(pipeline(asked))
            rows_ = [Example("", q, c, one.start, one.end) for (q, c), one in zip(asked, results, strict=True)]
            return TASKS["qa"].examples("own", rows_)
