"""The figure of CoLA: Matthews correlation (Matthews 1975, https://doi.org/10.1016/0005-2795(75)90109-9)."""

from numpy.typing import ArrayLike
from sklearn.metrics import matthews_corrcoef


def matthews(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Matthews correlation of two boolean arrays (sentences,), from -1 to 1; 0 if either array is constant."""
    return float(matthews_corrcoef(truth, predicted))
