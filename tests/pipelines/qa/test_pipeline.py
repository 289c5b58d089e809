import asyncio
import unicodedata

import numpy as np
import pytest

from pipelines.checkpoints.in_process import load_pipeline
from pipelines.engines.model_stage import ModelStage, Outcome, in_process
from pipelines.errors import EngineError, MunjangError
from pipelines.format.manifest import read_manifest
from pipelines.qa.pipeline import QaPipeline, Request
from pipelines.qa.spans import Answer
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.text.token_batch import TokenBatch
from tests.conftest import MakeCheckpoint

LONG = "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다. " * 12
REQUESTS = [
    ("도서관은 몇 시에 문을 여나요?", LONG),
    ("Where is the museum?", ""),
    ("Where is the museum?", "The museum is in Busan."),
    ("a " * 60, "The museum."),
    ("", "The museum."),
]
KINDS = ["extractor", "extractor-roberta"]


async def ask(pipeline: QaPipeline, requests: list[Request]) -> list[Answer | MunjangError]:
    return await pipeline(requests)


def failing(imported: MakeCheckpoint, extract: ModelStage) -> QaPipeline:
    folder = imported("extractor")
    windows = WindowTokenizer.load(folder, read_manifest(folder)).windows
    return QaPipeline(in_process(windows), extract)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_come_in_the_order_of_the_requests(imported: MakeCheckpoint, kind: str) -> None:
    pipeline = load_pipeline(imported(kind), "qa")
    together = asyncio.run(ask(pipeline, REQUESTS))
    for request, answer in zip(REQUESTS, together, strict=True):
        alone = asyncio.run(ask(pipeline, [request]))[0]
        assert isinstance(answer, Answer)
        assert isinstance(alone, Answer)
        assert request[1][answer.start : answer.end] == answer.text == alone.text
        assert bool(answer.text) == bool(request[1])
    assert [answer.windows for answer in together] == [together[0].windows, 0, 1, 1, 1]  # type: ignore[union-attr]
    assert together[0].windows > 1  # type: ignore[union-attr]


def test_answers_to_a_decomposed_context_are_spans_of_its_original_text(imported: MakeCheckpoint) -> None:
    pipeline = load_pipeline(imported("extractor"), "qa")
    decomposed = [tuple(unicodedata.normalize("NFD", text) for text in request) for request in REQUESTS]
    answers = zip(asyncio.run(ask(pipeline, REQUESTS)), asyncio.run(ask(pipeline, decomposed)), strict=True)  # type: ignore[arg-type]
    for (composed, answer), (_, context) in zip(answers, decomposed, strict=True):  # type: ignore[misc]
        assert isinstance(answer, Answer)
        assert context[answer.start : answer.end] == answer.text
        assert isinstance(composed, Answer)
        assert unicodedata.normalize("NFC", answer.text) == composed.text


@pytest.mark.parametrize("threshold", [-1e9, 0.0, 1e9, None])
def test_the_null_threshold_setting_overrides_that_of_the_manifest(
    imported: MakeCheckpoint, threshold: float | None
) -> None:
    async def extract(batch: TokenBatch) -> Outcome:
        assert batch.regions is not None
        low = batch.regions[:, 0]
        rows = np.zeros((len(batch), 2), dtype=[("start", np.int32), ("end", np.int32), ("score", np.float32)])
        rows["start"][:, 1], rows["end"][:, 1], rows["score"] = low, low + 1, (5, 3)
        return Outcome(rows)

    folder = imported("extractor")
    for own in (1e9, -1e9, None):
        manifest = read_manifest(folder).model_copy(update={"threshold": own})
        windows = WindowTokenizer.load(folder, manifest).windows
        pipeline = QaPipeline(in_process(windows), extract, null_threshold=threshold)
        answer = asyncio.run(ask(pipeline, [REQUESTS[2]]))[0]
        counts = threshold if threshold is not None else own
        assert isinstance(answer, Answer)
        assert bool(answer.text) == (counts is None or counts > 0)


def test_a_failed_window_fails_only_its_own_request(imported: MakeCheckpoint) -> None:
    async def extract(batch: TokenBatch) -> Outcome:
        rows = np.zeros((len(batch) - 1, 3), dtype=[("start", np.int32), ("end", np.int32), ("score", np.float32)])
        rows["score"] = -np.inf
        return Outcome(rows, {len(batch) - 2: EngineError("RuntimeError")})

    results = asyncio.run(ask(failing(imported, extract), REQUESTS))
    assert [isinstance(result, EngineError) for result in results] == [False, False, False, True, False]
    results = asyncio.run(ask(failing(imported, extract), [("a " * 60, "."), REQUESTS[2]]))
    assert [isinstance(result, EngineError) for result in results] == [True, False]


def test_a_request_fails_with_the_error_of_its_first_window_that_failed(imported: MakeCheckpoint) -> None:
    async def extract(batch: TokenBatch) -> Outcome:
        rows = np.zeros((len(batch) - 2, 3), dtype=[("start", np.int32), ("end", np.int32), ("score", np.float32)])
        return Outcome(rows, {2: EngineError("SecondError"), 1: EngineError("FirstError")})

    results = asyncio.run(ask(failing(imported, extract), [REQUESTS[0], REQUESTS[2]]))
    assert isinstance(results[0], EngineError)
    assert results[0].args == EngineError("FirstError").args
    assert not isinstance(results[1], EngineError)


def test_if_every_window_fails_every_request_with_windows_fails(imported: MakeCheckpoint) -> None:
    async def extract(batch: TokenBatch) -> Outcome:
        return Outcome(np.array([]), {item: EngineError("RuntimeError") for item in range(len(batch))})

    results = asyncio.run(ask(failing(imported, extract), REQUESTS))
    assert [isinstance(result, EngineError) for result in results] == [True, False, True, True, True]


def test_the_model_is_not_run_without_windows(imported: MakeCheckpoint) -> None:
    async def extract(batch: TokenBatch) -> Outcome:
        raise AssertionError("the model was run")

    results = asyncio.run(ask(failing(imported, extract), [("who?", ""), ("who?", " \n")]))
    assert [(answer.text, answer.start, answer.end) for answer in results] == [("", 0, 0)] * 2  # type: ignore[union-attr]
    assert asyncio.run(ask(failing(imported, extract), [])) == []
