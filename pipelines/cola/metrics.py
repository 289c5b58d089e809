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


def even_threshold(probabilities: ArrayLike, truth: Sequence[bool]) -> float:
    """The probability from which as many of these sentences are called acceptable as are.

    Close to the threshold of the highest Matthews correlation where a model is weak, and far steadier: that correlation
    hardly changes over a wide range, so its highest point on a few hundred sentences is chance.
    """
    return float(np.quantile(np.asarray(probabilities, dtype=np.float64), 1 - np.mean(truth)))
