import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import f1_score

from pipelines.sts.metrics import f1_at, pearson, spearman


def test_correlations_match_their_definitions() -> None:
    draw = np.random.default_rng(0)
    cosines, scores = draw.random(40), draw.random(40)
    ranks = [np.argsort(np.argsort(values)) for values in (cosines, scores)]
    assert pearson(cosines, scores) == pytest.approx(np.corrcoef(cosines, scores)[0, 1])
    assert spearman(cosines, scores) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_spearman_depends_only_on_the_order() -> None:
    cosines, scores = np.array([0.1, 0.2, 0.9]), np.array([0.0, 4.9, 5.0])
    assert spearman(cosines, scores) == pytest.approx(kendalltau(cosines, scores).statistic) == pytest.approx(1.0)
    assert pearson(cosines, scores) < 0.9


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_f1_is_scikit_learns(threshold: float) -> None:
    draw = np.random.default_rng(1)
    cosines, same = draw.random(60), (draw.random(60) < 0.4).tolist()
    assert f1_at(cosines, same, threshold) == pytest.approx(f1_score(same, cosines >= threshold))


def test_f1_without_a_true_positive_is_0() -> None:
    assert f1_at([0.1, 0.2], [True, False], 0.9) == 0.0


def test_a_cosine_on_the_threshold_counts_as_the_same() -> None:
    assert f1_at([0.6, 0.59], [True, False], 0.6) == 1.0
