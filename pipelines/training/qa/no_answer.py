"""Figures for data in which contexts may not answer the question, and the fit of the null threshold.

This follows the evaluation of SQuAD 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822): the empty answer is
scored like any other, and the threshold is the one that gives the best F1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.data import Example
from pipelines.qa.metrics import score_each
from pipelines.qa.spans import Answer

Scores = NDArray[np.float64]


def figures(examples: Sequence[Example], answers: Sequence[Answer]) -> dict[str, float]:
    """Exact match and character F1, from 0 to 1, of the answers to the examples.

    If some examples have no answer, this fits a threshold, and replaces answers by the empty one according to it. Then
    there are also both figures for the examples with an answer (HasAns in SQuAD), the share of the other examples that
    get the empty answer (NoAns), and the threshold.
    """
    spans = _scores([answer.text for answer in answers], examples)
    answerable = np.array([example.answerable for example in examples])
    if answerable.all():
        return _named("", spans)
    empty = _scores([""] * len(examples), examples)
    margins = np.array([_margin(answer) for answer in answers])
    threshold = fit_threshold(margins, spans[:, 1] - empty[:, 1])
    given = np.where((margins > threshold)[:, None], empty, spans)
    of_answerable = _named("has_answer_", given[answerable]) if answerable.any() else {}
    right = float(given[~answerable, 0].mean())
    return {**_named("", given), **of_answerable, "no_answer_accuracy": right, "threshold": threshold}


def fit_threshold(margins: Scores, gains: Scores) -> float:
    """Find the threshold with the highest total score; the empty answer is given if the margin is above it.

    margins  (questions,) null score - best score
    gains    (questions,) score of the best span - score of the empty answer

    The threshold is in the middle between two neighbouring margins. Among equally good places, the widest gap is taken.
    """
    order = np.argsort(margins)
    bounds = np.concatenate(([margins.min() - 1], margins[order], [margins.max() + 1]))
    gaps = np.diff(bounds)  # (questions + 1,): n margins are below the n-th gap
    sums = np.concatenate(([0.0], np.cumsum(gains[order]))).round(9)  # rounded, so that equal sums compare as equal
    best = int(np.lexsort((gaps, np.where(gaps > 0, sums, -np.inf)))[-1])
    return float(bounds[best] + gaps[best] / 2)


def _margin(answer: Answer) -> float:
    """Null score - best score; 0 if the context has no window."""
    return answer.null_score - answer.score if np.isfinite(answer.null_score) else 0.0


def _scores(texts: Sequence[str], examples: Sequence[Example]) -> Scores:
    """Exact match and F1 (questions, 2)."""
    return np.array(score_each(texts, [example.accepted for example in examples]), dtype=np.float64)


def _named(prefix: str, scores: Scores) -> dict[str, float]:
    match, f1 = scores.mean(axis=0).tolist()
    return {f"{prefix}exact_match": match, f"{prefix}f1": f1}
