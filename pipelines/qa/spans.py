"""The best answer spans, on raw logits.

A span's score is start logit plus end logit, unnormalised, so scores compare over the windows of a context; the null
span's score is the same sum at the first token, where the model is trained to point when a window has no answer
(Devlin et al. 2019, section 4.3, https://arxiv.org/abs/1810.04805).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.windows import Windows
from pipelines.tokens import Int32

SPAN = np.dtype([("start", np.int32), ("end", np.int32), ("score", np.float32)])


def best_spans(
    start: NDArray[np.float32], end: NDArray[np.float32], regions: Int32, *, max_answer_length: int, count: int
) -> NDArray[np.void]:
    """(windows, 1 + count) of `SPAN`: first the null span (0, 0), then the `count` best spans in falling score.

    start, end (windows, tokens) are raw logits. Spans are half-open token positions of the window, inside its region,
    at most `max_answer_length` tokens long. Where a window has fewer than `count`, scores are -inf behind them.
    """
    windows = len(start)
    spans = np.zeros((windows, 1 + count), dtype=SPAN)
    spans["score"][:, 1:] = -np.inf
    spans["score"][:, 0] = start[:, :1].sum(axis=1) + end[:, :1].sum(axis=1)  # as slices, for no windows at all
    for row, (low, high) in enumerate(regions):
        found = _banded_search(start[row, low:high], end[row, low:high], max_answer_length, count)
        found["start"] += low
        found["end"] += low
        spans[row, 1 : 1 + len(found)] = found
    return spans


def _banded_search(start: NDArray[np.float32], end: NDArray[np.float32], width: int, count: int) -> NDArray[np.void]:
    """The best (start, end) with end - start < width: a (tokens, width) band of sums, never the full square."""
    tokens = len(start)
    width = min(width, tokens)
    tail = np.concatenate((end, np.full(max(width - 1, 0), -np.inf, dtype=np.float32)))
    band = start[:, None] + np.lib.stride_tricks.sliding_window_view(tail, width)[:tokens]  # (tokens, width)
    scores = band.ravel()
    kept = np.argsort(-scores, kind="stable")[:count]
    kept = kept[np.isfinite(scores[kept])]
    found = np.empty(len(kept), dtype=SPAN)
    found["start"], extra = np.divmod(kept, width)
    found["end"] = found["start"] + extra + 1
    found["score"] = scores[kept]
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """`context[start:end] == text`, in characters; `score` and `null_score` are sums of raw logits.

    `truncated` says that the question was longer than `max_query_length` and its end was not read.
    """

    text: str
    start: int
    end: int
    score: float
    null_score: float
    windows: int
    truncated: bool = False


def rank(
    contexts: Sequence[str], windows: Windows, spans: NDArray[np.void], *, null_threshold: float | None
) -> list[Answer]:
    """One answer per context: the best span over all of its windows, or the empty one.

    The null score of a context is the lowest of its windows' (a window that sees the answer drags it down). The empty
    answer, (0, 0), wins where null score - best score > `null_threshold` (None: never), and where no span is left.
    """
    bounds = np.searchsorted(windows.request, np.arange(len(contexts) + 1))
    return [
        _answer(context, windows, spans, slice(low, high), null_threshold)
        for context, low, high in zip(contexts, bounds[:-1], bounds[1:], strict=True)
    ]


def _answer(
    context: str, windows: Windows, spans: NDArray[np.void], part: slice, null_threshold: float | None
) -> Answer:
    count = int(part.stop - part.start)
    null_score = float(spans["score"][part, 0].min(initial=np.inf))
    truncated = bool(windows.tokens.truncated[part].any())
    for start, end, score in _character_spans(windows, spans, part):
        if null_threshold is not None and null_score - score > null_threshold:
            break
        start, end = _strip(context, start, end)
        if start < end:
            return Answer(context[start:end], start, end, score, null_score, count, truncated)
    return Answer("", 0, 0, null_score, null_score, count, truncated)


def _character_spans(windows: Windows, spans: NDArray[np.void], part: slice) -> list[tuple[int, int, float]]:
    """Spans of all windows of one request, in characters, in falling score; ties in reading order."""
    if windows.tokens.regions is None:
        raise ValueError("windows without regions")
    found = spans[part, 1:]
    row, column = np.nonzero(np.isfinite(found["score"]) & (found["end"] > found["start"]))  # a failed window has none
    found = found[row, column]
    shift = (windows.first[part] - windows.tokens.regions[part, 0])[row]
    starts = windows.offsets[found["start"] + shift, 0]
    ends = windows.offsets[found["end"] - 1 + shift, 1]
    order = np.lexsort((ends, starts, -found["score"]))
    return [(int(starts[i]), int(ends[i]), float(found["score"][i])) for i in order]


def _strip(context: str, start: int, end: int) -> tuple[int, int]:
    """White space at the edges is no part of an answer (byte-level tokens carry the space before a word)."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
