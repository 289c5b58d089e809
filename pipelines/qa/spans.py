"""The search for the best answer spans in raw logits.

The score of a span is its start logit plus its end logit. It is not normalized, so that scores of different windows
of a context can be compared. The score of the null span is the same sum at the first token; models are trained to
point there if a window has no answer (Devlin et al. 2019, section 4.3, https://arxiv.org/abs/1810.04805).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.windows import Windows
from pipelines.text.token_batch import Int32

Logits = NDArray[np.float32]
CharacterSpan = tuple[int, int, float]
SPAN = np.dtype([("start", np.int32), ("end", np.int32), ("score", np.float32)])


def best_spans(start: Logits, end: Logits, regions: Int32, *, max_answer_length: int, count: int) -> NDArray[np.void]:
    """Spans (windows, 2 + count) of dtype `SPAN`: the null span (0, 0), the `count` best, highest score first, the sum.

    start, end  (windows, tokens) raw logits
    regions     (windows, 2) first position of the context in each window, and the position after its last

    Spans are half-open ranges of token positions in the window. They lie inside its region and have at most
    `max_answer_length` tokens. If a window has fewer than `count` spans, the remaining entries have the score -inf. The
    score of the last entry, whose span is empty, is the logarithm of the sum of exp(score) of all spans of the window.
    """
    spans = np.zeros((len(start), 2 + count), dtype=SPAN)
    spans["score"][:, 1:] = -np.inf
    spans["score"][:, 0] = start[:, :1].sum(axis=1) + end[:, :1].sum(axis=1)  # slices also work without tokens
    if start.size:
        position = np.arange(start.shape[1])
        inside = (position >= regions[:, :1]) & (position < regions[:, 1:])  # (windows, tokens)
        start, end = np.where(inside, start, -np.inf), np.where(inside, end, -np.inf)
        found = _banded_search(start, end, max_answer_length, count)
        finite = np.isfinite(found["score"])
        spans[:, 1:-1][np.arange(count) < finite.sum(axis=1, keepdims=True)] = found[finite]
        with np.errstate(over="ignore"):
            spans["score"][:, -1] = _log_sum(start, end, max_answer_length)
    return spans


def _banded_search(start: Logits, end: Logits, width: int, count: int) -> NDArray[np.void]:
    """The best spans (windows, count) with end - start <= width, highest score first, equal scores in reading order.

    Rank each start by the score of its best span. All of the `count` best spans begin at one of the `count` highest
    ranked starts: for any other start, the best spans of those would all score higher. Therefore only their sums, of
    shape (windows, count, width), are computed.
    """
    row = np.arange(len(start))[:, None]
    starts = np.sort(_highest(_sums(start, _highest_ahead(end, width)), count)[0], axis=1)
    repeated = np.diff(starts, axis=1, prepend=-1) == 0  # in windows with fewer than `count` starts
    first = np.where(repeated, -np.inf, start[row, starts])
    behind = np.pad(end, ((0, 0), (0, width - 1)), constant_values=-np.inf)
    lasts = np.lib.stride_tricks.sliding_window_view(behind, width, axis=1)[row, starts]  # (windows, count, width)
    columns, scores = _highest(_sums(first[:, :, None], lasts).reshape(len(start), -1), count)
    found = np.empty(scores.shape, dtype=SPAN)
    found["start"] = starts[row, columns // width]
    found["end"] = found["start"] + columns % width + 1
    found["score"] = scores
    return found


def _log_sum(start: Logits, end: Logits, width: int) -> NDArray[np.float64]:
    """The logarithm (windows,) of the sum of exp(start + end) over all spans with end - start <= width."""
    starts, most_start = _exponentials(start)
    ends, most_end = _exponentials(end)
    ahead = np.lib.stride_tricks.sliding_window_view(np.pad(ends, ((0, 0), (0, width - 1))), width, axis=1).sum(axis=2)
    with np.errstate(divide="ignore"):
        logarithms = np.log((starts * ahead).sum(axis=1)) + most_start + most_end
    return np.asarray(np.minimum(logarithms, np.finfo(np.float32).max))


def _exponentials(logits: Logits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """exp(logit - most) (windows, tokens), 0 for NaN, and the highest finite logit (windows,), `most`."""
    values = np.where(np.isfinite(logits), logits.astype(np.float64), -np.inf)
    most = np.maximum(values.max(axis=1, initial=-np.inf), np.finfo(np.float32).min)
    return np.exp(values - most[:, None]), most


def _sums(start: Logits, end: Logits) -> Logits:
    """Start plus end logits; NaN is replaced by -inf."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.fmax(start + end, -np.inf))


def _highest_ahead(values: Logits, width: int) -> Logits:
    """The maximum of each value (rows, columns) and the up to width - 1 values after it, in O(log width) steps."""
    highest, seen = values.copy(), 1
    while seen < width:
        step = min(seen, width - seen)
        highest[:, :-step] = np.fmax(highest[:, :-step], highest[:, step:])
        seen += step
    return highest


def _highest(scores: Logits, count: int) -> tuple[NDArray[np.intp], Logits]:
    """(columns, values), each (rows, count): the top scores of each row, highest first, equal ones from left to right.

    It takes the maximum `count` times, which is much faster than sorting if `count` is small. If a row has fewer finite
    scores, its columns repeat, with the value -inf.
    """
    row = np.arange(len(scores))
    left = scores.copy()
    columns = np.empty((len(scores), count), dtype=np.intp)
    values = np.empty((len(scores), count), dtype=scores.dtype)
    for number in range(count):
        columns[:, number] = left.argmax(axis=1)
        values[:, number] = left[row, columns[:, number]]
        left[row, columns[:, number]] = -np.inf
    return columns, values


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: `text` is `context[start:end]`, in characters; `score` and `null_score` are sums of raw logits.

    windows     number of windows that the context was cut into
    checkpoint  digest of the checkpoint that answered
    truncated   whether the question was longer than `max_query_length` tokens, so that its end was not read
    tokens      tokens of all windows
    """

    text: str
    start: int
    end: int
    score: float
    null_score: float
    windows: int
    checkpoint: str
    truncated: bool = False
    tokens: int = 0


def rank(
    contexts: Sequence[str], windows: Windows, spans: NDArray[np.void], *, null_threshold: float | None
) -> list[Answer]:
    """One answer per context: the best span of all of its windows, or the empty answer.

    The null score of a context is the lowest null score of its windows, since a window that contains the answer has a
    low one. The answer is empty, with start and end 0, if null score - best score > `null_threshold` (None: never), or
    if there is no span.
    """
    requests = len(contexts)
    null_scores = np.full(requests, np.inf, dtype=np.float32)
    np.minimum.at(null_scores, windows.request, spans["score"][:, 0])
    truncated = np.zeros(requests, dtype=np.bool_)
    truncated[windows.request[windows.tokens.truncated]] = True
    counts = np.bincount(windows.request, minlength=requests)
    tokens = np.bincount(windows.request, weights=windows.tokens.lengths, minlength=requests).astype(np.int64)
    return [
        _answer(context, found, null_threshold, windows.tokens.checkpoint.digest, *rest)
        for context, found, *rest in zip(
            contexts,
            character_spans(windows, spans, requests),
            null_scores.tolist(),
            counts.tolist(),
            truncated.tolist(),
            tokens.tolist(),
            strict=True,
        )
    ]


def _answer(
    context: str,
    found: Sequence[CharacterSpan],
    null_threshold: float | None,
    checkpoint: str,
    null_score: float,
    windows: int,
    truncated: bool,
    tokens: int,
) -> Answer:
    for start, end, score in found:
        if null_threshold is not None and null_score - score > null_threshold:
            break
        start, end = strip(context, start, end)
        if start < end:
            return Answer(context[start:end], start, end, score, null_score, windows, checkpoint, truncated, tokens)
    return Answer("", 0, 0, null_score, null_score, windows, checkpoint, truncated, tokens)


def character_spans(windows: Windows, spans: NDArray[np.void], requests: int) -> list[list[CharacterSpan]]:
    """The spans of each request in characters, from all of its windows, highest score first, ties in reading order."""
    if windows.tokens.regions is None:
        raise ValueError("windows without regions")
    found = spans[:, 1:]
    row, column = np.nonzero(np.isfinite(found["score"]) & (found["end"] > found["start"]))  # not failed
    found = found[row, column]
    request = windows.request[row]
    shift = (windows.first - windows.tokens.regions[:, 0])[row]
    starts = windows.offsets[found["start"] + shift, 0]
    ends = windows.offsets[found["end"] - 1 + shift, 1]
    order = np.lexsort((ends, starts, -found["score"], request))
    ranked = list(zip(starts[order].tolist(), ends[order].tolist(), found["score"][order].tolist(), strict=True))
    bounds = np.searchsorted(request, np.arange(requests + 1)).tolist()
    return [ranked[low:high] for low, high in pairwise(bounds)]


def strip(context: str, start: int, end: int) -> tuple[int, int]:
    """Remove white space at the edges of a span; byte-level tokens include the space before a word."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
