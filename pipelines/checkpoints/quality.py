"""Compute a checkpoint's score on examples with the same pipeline that serves it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.cola.data import Judgement, read_cola
from pipelines.cola.metrics import matthews
from pipelines.errors import MunjangError
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Manifest, Task
from pipelines.qa.data import Example, read_squad
from pipelines.qa.metrics import score_any
from pipelines.sts.data import ScoredPair, read_scored_pairs
from pipelines.sts.metrics import pearson

METRICS: dict[Task, str] = {"sts": "Pearson", "cola": "Matthews", "qa": "F1"}
PORTION = 32


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of a task and their expected results: a score, whether acceptable, or the texts of the answers."""

    name: str
    task: Task
    inputs: Sequence[Any]
    expected: Sequence[Any]

    @property
    def metric(self) -> str:
        """The name of the metric that `score` computes."""
        return METRICS[self.task]

    @classmethod
    def read(cls, path: Path, task: Task) -> Self:
        """Read a file in a usual format of the task: KLUE-STS or KorSTS, CoLA, SQuAD or KorQuAD, also as `.xz`.

        Raises CheckpointDamaged if the file is missing or in another format.
        """
        with refusing_damage(path):
            match task:
                case "sts":
                    return cls.of_pairs(path.name, read_scored_pairs(path))
                case "cola":
                    return cls.of_judgements(path.name, read_cola(path))
                case "qa":
                    return cls.of_questions(path.name, [example for article in read_squad(path) for example in article])

    @classmethod
    def of_pairs(cls, name: str, pairs: Sequence[ScoredPair]) -> Self:
        """Examples for STS."""
        return cls(name, "sts", [(pair.sentence1, pair.sentence2) for pair in pairs], [pair.score for pair in pairs])

    @classmethod
    def of_judgements(cls, name: str, rows: Sequence[Judgement]) -> Self:
        """Examples for CoLA."""
        return cls(name, "cola", [row.sentence for row in rows], [row.acceptable for row in rows])

    @classmethod
    def of_questions(cls, name: str, asked: Sequence[Example]) -> Self:
        """Examples for QA."""
        return cls(name, "qa", [(one.question, one.context) for one in asked], [one.accepted for one in asked])


def score(pipeline: Callable[[Sequence[Any]], Awaitable[list[Any]]], manifest: Manifest, examples: Examples) -> float:
    """The metric of the checkpoint's task on the examples, from -1 to 1. Raises the error of an input that failed."""
    results = run(pipeline, examples.inputs)
    match manifest.task:
        case "sts":
            return pearson([result.score for result in results], examples.expected)
        case "cola":
            threshold = 0.5 if manifest.threshold is None else manifest.threshold
            return matthews([result.probability >= threshold for result in results], examples.expected)
        case "qa":
            return score_any([result.text for result in results], examples.expected).f1


def run(pipeline: Callable[[Sequence[Any]], Awaitable[list[Any]]], inputs: Sequence[Any]) -> list[Any]:
    """The pipeline's results in order. Raises the error of the first input that failed."""
    results = asyncio.run(_results(pipeline, inputs))
    for error in results:
        if isinstance(error, MunjangError):
            raise error
    return results


async def _results(pipeline: Callable[[Sequence[Any]], Awaitable[list[Any]]], inputs: Sequence[Any]) -> list[Any]:
    portions = [inputs[start : start + PORTION] for start in range(0, len(inputs), PORTION)]
    return [result for portion in portions for result in await pipeline(portion)]
