"""Golden inputs: their answers are recorded when a checkpoint is written and checked before it is served.

Hashes prove that the files are unchanged. Golden inputs prove that this machine, with these library versions and this
engine, still computes the same answers from them.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.checkpoints.in_process import pipeline_of
from pipelines.cola.pipeline import Acceptability
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointDamaged, MunjangError
from pipelines.format.manifest import MANIFEST, Golden, Manifest, Task
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity

TOLERANCES = {"bi-encoder": 0.02, "cross-encoder": 0.1, "classifier": 0.02}  # allows for rounding in bfloat16 and int8

INPUTS: dict[Task, list[tuple[str, ...]]] = {
    "sts": [
        ("오늘은 비가 많이 옵니다.", "오늘 비가 많이 내린다."),
        ("오늘은 비가 많이 옵니다.", "기차는 여섯 시에 떠납니다."),
        ("회의는 세 시에 시작해요.", "회의 시작 시간은 세 시입니다."),
    ],
    "cola": [("The children are playing in the garden.",), ("The children is play garden in the.",)],
    "qa": [
        ("도서관은 몇 시에 문을 여나요?", "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."),
        ("Where is the museum?", "The museum is in Busan. It opened in 1998 and shows old ships."),
    ],
}


def record(folder: Path, manifest: Manifest, model: Model) -> list[Golden]:
    """The task's golden inputs with the model's answers. Raises CheckpointDamaged if an answer is not finite."""
    inputs = INPUTS[manifest.task]
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
    tolerance = TOLERANCES.get(manifest.kind, 0.0) if tolerance is None else tolerance
    for number, (golden, output) in enumerate(zip(manifest.golden, outputs, strict=True)):
        if not _same(golden.output, output, tolerance):
            why = f"golden input {number} should give {golden.output!r} and gives {output!r} with {model.engine.name}"
            raise CheckpointDamaged(str(folder / MANIFEST), why)


def _same(expected: float | str, actual: float | str, tolerance: float) -> bool:
    if isinstance(expected, str) or isinstance(actual, str):
        return expected == actual
    return abs(expected - actual) <= tolerance


def _answers(folder: Path, manifest: Manifest, model: Model, inputs: Sequence[tuple[str, ...]]) -> list[float | str]:
    items = [texts[0] if manifest.task == "cola" else texts for texts in inputs]
    return [_output(result) for result in results_of(folder, manifest, model, items)]


def results_of(folder: Path, manifest: Manifest, model: Model, items: Sequence[Any]) -> list[Any]:
    """The results of a task's items in one batch, in order. Raises the error of the first item that failed."""
    pipeline: Callable[[Sequence[Any]], Awaitable[list[Any]]] = pipeline_of(folder, manifest, model)
    with ThreadPoolExecutor(1) as thread:  # the calling thread may run an event loop
        results = thread.submit(lambda: asyncio.run(_collect(pipeline, items))).result()
    for result in results:
        if isinstance(result, MunjangError):
            raise result
    return results


async def _collect(pipeline: Callable[[Sequence[Any]], Awaitable[list[Any]]], items: Sequence[Any]) -> list[Any]:
    return await pipeline(items)


def _output(result: Similarity | Acceptability | Answer) -> float | str:
    match result:
        case Similarity(score=score):
            return score
        case Acceptability(probability=probability):
            return probability
        case Answer(text=text):
            return text
