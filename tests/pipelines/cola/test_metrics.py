import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from pipelines.cola.metrics import matthews


def test_matthews_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        called, truth = draw.random(50) < 0.7, draw.random(50) < 0.4
        assert matthews(called, truth) == pytest.approx(matthews_corrcoef(truth, called))


@pytest.mark.parametrize("called", [[True, True, True], [False, False, False]])
def test_constant_predictions_have_correlation_0(called: list[bool]) -> None:
    assert matthews(called, [True, False, True]) == 0.0
