"""Figures of STS: correlations with the annotators' scores, and F1 of paraphrase detection at a threshold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score


def pearson(cosines: ArrayLike, scores: ArrayLike) -> float:
    """Linear correlation, from -1 to 1."""
    return float(pearsonr(np.asarray(cosines), np.asarray(scores)).statistic)


def spearman(cosines: ArrayLike, scores: ArrayLike) -> float:
    """Rank correlation, from -1 to 1."""
    return float(spearmanr(np.asarray(cosines), np.asarray(scores)).statistic)


def f1_at(cosines: ArrayLike, same: Sequence[bool], threshold: float) -> float:
    """F1 of the class "same", predicted where the cosine is >= threshold; 0 without a true positive."""
    return float(f1_score(same, np.asarray(cosines) >= threshold, zero_division=0.0))
