"""Golden inputs: their answers are recorded when a checkpoint is written and checked before it is served.

Hashes prove that the files are unchanged. Golden inputs prove that this machine, with these library versions and this
engine, still computes the same answers from them.
"""

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.checkpoints.in_process import pipeline_of
from pipelines.checkpoints.tasks.definition import Pipeline
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointDamaged, MunjangError
from pipelines.format.manifest import KIND_SPECS, MANIFEST, Golden, Manifest


def record(folder: Path, manifest: Manifest, model: Model) -> list[Golden]:
    """The task's golden inputs with the model's answers. Raises CheckpointDamaged if an answer is not finite."""
    inputs = TASKS[manifest.task].golden
    outputs = _answers(folder, manifest, model, inputs)
    for number, output in enumerate(outputs):
        if isinstance(output, float) and not math.isfinite(output):
            raise CheckpointDamaged(str(folder), f"golden input {number} gives {output!r} with {model.engine.name}")
    return [Golden(inputs=text, output=output) for text, output in zip(inputs, outputs, strict=True)]


def check(folder: Path, manifest: Manifest, model: Model, *, tolerance: float | None = None) -> None:
    """Raise CheckpointDamaged, naming the manifest and the input's number, if an answer differs from the recorded one.

    `tolerance` is the allowed difference of scores and probabilities; None: that of the checkpoint's kind.
    """
    outputs = _answers(folder, manifest, model, [golden.inputs for golden in manifest.golden])
    tolerance = KIND_SPECS[manifest.kind].tolerance if tolerance is None else tolerance
    for number, (golden, output) in enumerate(zip(manifest.golden, outputs, strict=True)):
        if not _same(golden.output, output, tolerance):
            why = f"golden input {number} should give {golden.output!r} and gives {output!r} with {model.engine.name}"
            raise CheckpointDamaged(str(folder / MANIFEST), why)


def _same(expected: float | str, actual: float | str, tolerance: float) -> bool:
    if isinstance(expected, str) or isinstance(actual, str):
        return expected == actual
    return abs(expected - actual) <= tolerance


def _answers(folder: Path, manifest: Manifest, model: Model, inputs: Sequence[tuple[str, ...]]) -> list[float | str]:
    task = TASKS[manifest.task]
    return [
        task.answer(result) for result in results_of(folder, manifest, model, [task.item_of(one) for one in inputs])
    ]


def results_of(folder: Path, manifest: Manifest, model: Model, items: Sequence[Any]) -> list[Any]:
    """The results of a task's items in one batch, in order. Raises the error of the first item that failed."""
    pipeline = pipeline_of(folder, manifest, model)
    with ThreadPoolExecutor(1) as thread:  # the calling thread may run an event loop
        results = thread.submit(lambda: asyncio.run(_collect(pipeline, items))).result()
    for result in results:
        if isinstance(result, MunjangError):
            raise result
    return results


async def _collect(pipeline: Pipeline, items: Sequence[Any]) -> list[Any]:
    return await pipeline(items)
