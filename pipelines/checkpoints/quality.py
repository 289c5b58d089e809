"""Compute a checkpoint's score on examples with the same pipeline that serves it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pipelines.checkpoints.tasks.definition import Examples, Pipeline
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.errors import MunjangError
from pipelines.format.manifest import Manifest

PORTION = 32


def score(pipeline: Pipeline, manifest: Manifest, examples: Examples) -> float:
    """The metric of the checkpoint's task on the examples, from -1 to 1. Raises the error of an input that failed."""
    task = TASKS[manifest.task]
    return figures(pipeline, manifest, examples)[task.metric.lower()]


def figures(pipeline: Pipeline, manifest: Manifest, examples: Examples) -> dict[str, float]:
    """All figures of the checkpoint's task on the examples. Raises the error of an input that failed."""
    task = TASKS[manifest.task]
    outputs = [task.output(result) for result in run(pipeline, examples.inputs)]
    return task.figures(outputs, examples.expected, manifest.threshold)


def run(pipeline: Pipeline, inputs: Sequence[Any]) -> list[Any]:
    """The pipeline's results in order. Raises the error of the first input that failed."""
    results = asyncio.run(_results(pipeline, inputs))
    for error in results:
        if isinstance(error, MunjangError):
            raise error
    return results


async def _results(pipeline: Pipeline, inputs: Sequence[Any]) -> list[Any]:
    portions = [inputs[start : start + PORTION] for start in range(0, len(inputs), PORTION)]
    return [result for portion in portions for result in await pipeline(portion)]
