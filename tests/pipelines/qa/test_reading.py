"""The probabilities of answers equal those of a plain computation over all spans of all windows."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Outcome, in_process, in_process_model
from pipelines.errors import EngineError, MunjangError
from pipelines.format.manifest import verify
from pipelines.format.windows import WindowSettings
from pipelines.qa.model import Extractor, load
from pipelines.qa.pipeline import QaPipeline
from pipelines.qa.reading import Candidate, Findings, Reading, ReadingPipeline
from pipelines.qa.spans import strip
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.qa.windows import Windows
from pipelines.text.token_batch import TokenBatch
from tests.conftest import MakeCheckpoint

CONTEXT = "The museum is in Busan. 도서관은 아홉 시에 문을 연다. The museum of Busan is open.  "
SETTINGS = WindowSettings(max_seq_length=24, max_query_length=4, max_answer_length=5, doc_stride=4)
ALL = 200  # more than a window has spans


@pytest.fixture
def parts(imported: MakeCheckpoint) -> tuple[WindowTokenizer, Extractor]:
    folder: Path = imported("extractor")
    manifest = verify(folder, "qa")
    return WindowTokenizer.load(folder, manifest), load(folder, manifest, EngineSettings(), spans_per_window=ALL)


def read(parts: tuple[WindowTokenizer, Extractor], readings: Sequence[Reading], **options: float) -> list[Findings]:
    tokenizer, extractor = parts
    pipeline = ReadingPipeline(in_process(tokenizer.windows), in_process_model(extractor), **options)
    found = asyncio.run(_run(pipeline, readings))
    return [one for one in found if not isinstance(one, MunjangError)]


async def _run(pipeline: ReadingPipeline, readings: Sequence[Reading]) -> list[Findings | MunjangError]:
    return await pipeline(readings)


def plain(
    windows: Windows, extractor: Extractor, context: str, longest: int
) -> tuple[dict[tuple[int, int], float], float]:
    """The probability of each place in the context, and of no answer, by the definition."""
    start, end = extractor.engine.outputs(windows.tokens, "start_logits", "end_logits")
    start, end = start.astype(np.float64), end.astype(np.float64)
    null = min(start[row, 0] + end[row, 0] for row in range(len(windows.tokens)))
    places: dict[tuple[int, int], float] = {}
    total = np.exp(null)
    assert windows.tokens.regions is not None
    for row, (low, high) in enumerate(windows.tokens.regions.tolist()):
        shift = int(windows.first[row]) - low
        for i in range(low, high):
            for j in range(i, min(i + longest, high)):
                mass = np.exp(start[row, i] + end[row, j])
                total += mass
                place = strip(context, int(windows.offsets[i + shift, 0]), int(windows.offsets[j + shift, 1]))
                places[place] = places.get(place, 0.0) + mass
    return {place: mass / total for place, mass in places.items()}, float(np.exp(null) / total)


@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS.model_copy(update={"doc_stride": 9, "max_answer_length": 2})])
def test_probabilities_are_over_all_spans_of_all_windows_and_no_answer(
    parts: tuple[WindowTokenizer, Extractor], settings: WindowSettings
) -> None:
    tokenizer, extractor = parts
    windows = tokenizer.windows([("museum", CONTEXT)], [settings])
    places, null = plain(windows, extractor, CONTEXT, settings.max_answer_length)
    (found,) = read(parts, [Reading("museum", CONTEXT, settings)])
    assert found.windows == len(windows.tokens) > 2
    assert found.null_probability == pytest.approx(null, rel=1e-4)
    assert {(one.start, one.end): one.probability for one in found.candidates} == pytest.approx(
        {place: value for place, value in places.items() if place[0] < place[1]}, rel=1e-3, abs=1e-9
    )
    ranked = [one.probability for one in found.candidates]
    assert ranked == sorted(ranked, reverse=True)
    assert sum(ranked) + found.null_probability == pytest.approx(1, abs=1e-3)
    assert all(CONTEXT[one.start : one.end] == one.text for one in found.candidates)


def test_each_reading_has_the_windows_that_it_names(parts: tuple[WindowTokenizer, Extractor]) -> None:
    short = SETTINGS.model_copy(update={"max_answer_length": 1})
    readings = [Reading("museum", CONTEXT, settings) for settings in (SETTINGS, short, None)]
    together = read(parts, readings)
    alone = [read(parts, [reading])[0] for reading in readings]
    for one, other in zip(together, alone, strict=True):
        assert one.windows == other.windows
        assert places(one.candidates[:3]) == places(other.candidates[:3])
        assert one.null_probability == pytest.approx(other.null_probability, rel=1e-4)
    assert len({one.windows for one in together}) > 1
    longest = [max(one.text.count(" ") for one in found.candidates) for found in together]
    assert longest[1] == 0 < longest[0]


def places(candidates: Sequence[Candidate]) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in candidates]


@pytest.mark.parametrize("threshold", [-100.0, 0.0, 100.0])
def test_a_question_is_answerable_if_the_route_for_one_question_answers_it(
    parts: tuple[WindowTokenizer, Extractor], threshold: float
) -> None:
    tokenizer, extractor = parts
    single = QaPipeline(in_process(tokenizer.windows), in_process_model(extractor), null_threshold=threshold)

    async def answers() -> list[object]:
        return list(await single([("museum", CONTEXT)]))

    (answer,) = asyncio.run(answers())
    (found,) = read(parts, [Reading("museum", CONTEXT)], null_threshold=threshold)
    assert found.answerable == bool(answer.text)  # type: ignore[attr-defined]
    assert found.null_score == pytest.approx(answer.null_score, abs=1e-4)  # type: ignore[attr-defined]


def test_a_context_without_tokens_certainly_has_no_answer(parts: tuple[WindowTokenizer, Extractor]) -> None:
    (found,) = read(parts, [Reading("museum", " \u200b")])
    assert (found.candidates, found.null_score, found.null_probability, found.windows) == ((), None, 1.0, 0)
    assert not found.answerable


def test_only_the_reading_whose_window_failed_fails(parts: tuple[WindowTokenizer, Extractor]) -> None:
    tokenizer, extractor = parts

    async def extract(batch: TokenBatch) -> Outcome:
        return Outcome(extractor.run(batch)[1:], {0: EngineError("RuntimeError")})

    pipeline = ReadingPipeline(in_process(tokenizer.windows), extract)
    readings = [Reading("museum", CONTEXT, SETTINGS), Reading("Busan", CONTEXT, SETTINGS)]
    first, second = asyncio.run(_run(pipeline, readings))
    assert isinstance(first, EngineError)
    assert isinstance(second, Findings)
