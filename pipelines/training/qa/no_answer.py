"""Questions that their context does not answer: how they are scored, and from where on no answer is given.

After SQuAD 2.0's evaluation (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822): the empty answer is right or
wrong as any other, and the threshold is the one that gives the best F1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.data import Example
from pipelines.qa.metrics import score_each
from pipelines.qa.spans import Answer

Scores = NDArray[np.float64]


def figures(examples: Sequence[Example], answers: Sequence[Answer]) -> dict[str, float]:
    """Exact match and character F1, 0 to 1, of the best spans of the examples.

    If some have no answer: with the empty answer wherever `threshold`, which is fitted here, says so; and the same of
    the questions with an answer alone (HasAns), and the share of the others that get none (NoAns).
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
    """The threshold on null score - best score, above which the empty answer is given, that gives the highest sum.

    margins  (questions,) null score - best score
    gains    (questions,) what is won where the best span is given instead of the empty answer

    It lies in the middle between two margins; of equally good places, where those are furthest apart.
    """
    order = np.argsort(margins)
    bounds = np.concatenate(([margins.min() - 1], margins[order], [margins.max() + 1]))
    gaps = np.diff(bounds)  # (questions + 1,): in the n-th, the n lowest margins are below the threshold
    sums = np.concatenate(([0.0], np.cumsum(gains[order]))).round(9)  # equal sums, whatever the order of additions
    best = int(np.lexsort((gaps, np.where(gaps > 0, sums, -np.inf)))[-1])
    return float(bounds[best] + gaps[best] / 2)


def _margin(answer: Answer) -> float:
    """0 where there was nothing to choose from."""
    return answer.null_score - answer.score if np.isfinite(answer.null_score) else 0.0


def _scores(texts: Sequence[str], examples: Sequence[Example]) -> Scores:
    """(questions, 2): exact match and F1."""
    return np.array(score_each(texts, [example.accepted for example in examples]), dtype=np.float64)


def _named(prefix: str, scores: Scores) -> dict[str, float]:
    match, f1 = scores.mean(axis=0).tolist()
    return {f"{prefix}exact_match": match, f"{prefix}f1": f1}
