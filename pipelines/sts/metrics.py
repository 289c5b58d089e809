"""STS figures: correlation with annotators' scores, F1 of paraphrase or not at a threshold on the cosine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
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
