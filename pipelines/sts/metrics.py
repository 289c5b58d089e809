"""STS figures: correlation with annotators' scores, F1 of paraphrase or not at a threshold on the cosine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import pearsonr, spearmanr


def pearson(cosines: ArrayLike, scores: ArrayLike) -> float:
    """Linear correlation, -1 to 1."""
    return float(pearsonr(np.asarray(cosines), np.asarray(scores)).statistic)


def spearman(cosines: ArrayLike, scores: ArrayLike) -> float:
    """Rank correlation, -1 to 1."""
    return float(spearmanr(np.asarray(cosines), np.asarray(scores)).statistic)


def f1_at(cosines: ArrayLike, same: Sequence[bool], threshold: float) -> float:
    """F1 of the class "same" where pairs with cosine >= threshold are called the same; 0 where none is hit."""
    called = np.asarray(cosines) >= threshold
    truth = np.asarray(same, dtype=bool)
    hits = int((called & truth).sum())
    return 2 * hits / int(called.sum() + truth.sum()) if hits else 0.0


def best_threshold(cosines: ArrayLike, same: Sequence[bool]) -> float:
    """The cosine at which calling pairs the same gives the highest F1 on these pairs."""
    values: NDArray[np.float64] = np.asarray(cosines, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    truth = np.asarray(same, dtype=bool)[order]
    f1 = 2 * np.cumsum(truth) / (np.arange(1, len(truth) + 1) + truth.sum())
    cut = int(np.argmax(f1))
    # Half way to the next lower cosine, so that rounding does not drop the pair on the border.
    lower = values[order[min(cut + 1, len(order) - 1)]]
    return float((values[order[cut]] + lower) / 2)
