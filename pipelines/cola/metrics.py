"""CoLA's figure: the correlation of two binary variables (Matthews)."""

import numpy as np
from numpy.typing import ArrayLike


def matthews(called: ArrayLike, truth: ArrayLike) -> float:
    """Matthews correlation of two boolean arrays (sentences,), -1 to 1; 0 where either is constant."""
    ours, theirs = np.asarray(called, dtype=bool), np.asarray(truth, dtype=bool)
    if len(set(ours.tolist())) < 2 or len(set(theirs.tolist())) < 2:
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])
