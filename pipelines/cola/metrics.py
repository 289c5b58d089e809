"""CoLA's figure: the correlation of two binary variables (Matthews)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def matthews(called: ArrayLike, truth: ArrayLike) -> float:
    """Matthews correlation of two boolean arrays (sentences,), -1 to 1; 0 where either is constant."""
    ours, theirs = np.asarray(called, dtype=bool), np.asarray(truth, dtype=bool)
    if len(set(ours.tolist())) < 2 or len(set(theirs.tolist())) < 2:
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])


def best_threshold(probabilities: ArrayLike, truth: Sequence[bool]) -> float:
    """The probability from which calling sentences acceptable gives the highest Matthews correlation on these ones.

    Correlations over neighbouring thresholds are averaged: the highest single one is often a chance peak.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    grid = np.quantile(values, np.linspace(0.02, 0.98, 97))
    scores = np.array([matthews(values >= threshold, truth) for threshold in grid])
    smooth = np.convolve(np.pad(scores, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    return float(grid[int(np.argmax(smooth))])
