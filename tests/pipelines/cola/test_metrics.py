import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from pipelines.cola.metrics import even_threshold, matthews


def test_matthews_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        called, truth = draw.random(50) < 0.7, draw.random(50) < 0.4
        assert matthews(called, truth) == pytest.approx(matthews_corrcoef(truth, called))


@pytest.mark.parametrize("called", [[True, True, True], [False, False, False]])
def test_a_constant_answer_scores_nothing(called: list[bool]) -> None:
    assert matthews(called, [True, False, True]) == 0.0


def test_the_threshold_parts_the_classes() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(400) < 0.7
    probabilities = np.where(truth, 0.8, 0.6) + 0.02 * draw.standard_normal(400)
    threshold = even_threshold(probabilities, truth.tolist())
    assert 0.6 < threshold < 0.8
    assert matthews(probabilities >= threshold, truth) > 0.95
