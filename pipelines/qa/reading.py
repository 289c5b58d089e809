"""The path of a question whose answers are all wanted: the best spans of a context with their probabilities.

The probability of a span is exp(score) divided by the sum of exp(score) over all spans of all windows of the context
and its null span, where a score is the sum of two raw logits. A softmax for each window, as in the pipeline that
transformers had, gives every window the same weight, even one without any answer (Clark and Gardner 2018,
https://arxiv.org/abs/1710.10723).
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.model_stage import ModelStage, Outcome
from pipelines.errors import MunjangError
from pipelines.format.windows import WindowSettings
from pipelines.qa.pipeline import NO_SPANS, Request
from pipelines.qa.spans import CharacterSpan, character_spans, strip
from pipelines.qa.windows import Windows


class Reading(NamedTuple):
    """A question, the context to read for it, and how to cut that into windows; None: as the checkpoint says."""

    question: str
    context: str
    windows: WindowSettings | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer: `text` is `context[start:end]`, in characters; `score` is the sum of two raw logits.

    If the same characters are among the best spans of several windows, `score` is the highest of their scores, and
    `probability` the sum of their probabilities.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a context.

    candidates        the best spans, most probable first
    null_score        the sum of two raw logits for "no answer"; None if the context has no tokens
    null_probability  the probability of "no answer"
    answerable        whether /api would give a span as its answer
    windows           number of windows that the context was cut into
    truncated         whether the end of the question was not read
    tokens            tokens of all windows
    checkpoint        digest of the checkpoint that answered
    """

    candidates: tuple[Candidate, ...]
    null_score: float | None
    null_probability: float
    answerable: bool
    windows: int
    truncated: bool
    tokens: int
    checkpoint: str


class ReadingPipeline:
    """Takes readings and returns one result or error for each, in order. `null_threshold` is that of `QaPipeline`."""

    def __init__(
        self,
        tokenize: Callable[[Sequence[Request], Sequence[WindowSettings | None]], Awaitable[Windows]],
        extract: ModelStage,
        *,
        null_threshold: float | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._extract = extract
        self._null_threshold = null_threshold

    async def __call__(self, readings: Sequence[Reading]) -> list[Findings | MunjangError]:
        """Read the contexts. A reading fails if any of its windows failed, with the error of the first of them."""
        requests = [(reading.question, reading.context) for reading in readings]
        windows = await self._tokenize(requests, [reading.windows for reading in readings])
        outcome = await self._extract(windows.tokens) if len(windows.tokens) else Outcome(NO_SPANS)
        own = self._null_threshold
        threshold = own if own is not None else windows.tokens.checkpoint.threshold
        contexts = [reading.context for reading in readings]
        found = findings(contexts, windows, outcome.full_rows(NO_SPANS), null_threshold=threshold)
        failed = {windows.request[item].item(): error for item, error in sorted(outcome.errors.items(), reverse=True)}
        return [failed.get(number, one) for number, one in enumerate(found)]


def findings(
    contexts: Sequence[str], windows: Windows, spans: NDArray[np.void], *, null_threshold: float | None
) -> list[Findings]:
    """The findings of each context. The null score of a context is the lowest of its windows, as in `rank`."""
    requests = len(contexts)
    null_scores = np.full(requests, np.inf)
    np.minimum.at(null_scores, windows.request, spans["score"][:, 0])
    totals = np.full(requests, -np.inf)
    np.logaddexp.at(totals, windows.request, spans["score"][:, -1].astype(np.float64))
    totals = np.logaddexp(totals, null_scores)
    counts = np.bincount(windows.request, minlength=requests)
    tokens = np.bincount(windows.request, weights=windows.tokens.lengths, minlength=requests).astype(np.int64)
    truncated = np.zeros(requests, dtype=np.bool_)
    truncated[windows.request[windows.tokens.truncated]] = True
    numbers = zip(
        contexts,
        character_spans(windows, spans, requests),
        *(values.tolist() for values in (null_scores, totals, counts, truncated, tokens)),
        strict=True,
    )
    return [
        _findings(
            context, found, null_score, total, null_threshold, (count, cut, read, windows.tokens.checkpoint.digest)
        )
        for context, found, null_score, total, count, cut, read in numbers
    ]


def _findings(
    context: str,
    found: Sequence[CharacterSpan],
    null_score: float,
    total: float,
    null_threshold: float | None,
    rest: tuple[int, bool, int, str],
) -> Findings:
    if not math.isfinite(null_score):
        return Findings((), None, 1.0, False, *rest)
    candidates = _candidates(context, found, total)
    best = max((candidate.score for candidate in candidates), default=-math.inf)
    answerable = bool(candidates) and (null_threshold is None or null_score - best <= null_threshold)
    return Findings(candidates, null_score, math.exp(null_score - total), answerable, *rest)


def _candidates(context: str, found: Sequence[CharacterSpan], total: float) -> tuple[Candidate, ...]:
    merged: dict[tuple[int, int], tuple[float, float]] = {}
    for start, end, score in found:
        place = strip(context, start, end)
        best, probability = merged.get(place, (score, 0.0))
        merged[place] = (best, probability + math.exp(score - total))
    ranked = sorted(merged.items(), key=lambda entry: entry[1][1], reverse=True)
    return tuple(
        Candidate(context[start:end], start, end, score, min(probability, 1.0))
        for (start, end), (score, probability) in ranked
        if start < end
    )
