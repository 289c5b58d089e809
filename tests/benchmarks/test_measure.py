import pytest

from benchmarks.measure import WrongScores, deviations

EXPECTED = [0.1, 0.5, 0.9]


def test_scores_within_the_tolerance_pass_with_their_deviations() -> None:
    figures = deviations([0.1004, 0.5, 0.9], EXPECTED, "fp32")
    assert figures["max_deviation"] == pytest.approx(4e-4)
    assert figures["correlation"] > 0.99999


def test_fp32_scores_beyond_the_tolerance_are_an_error() -> None:
    with pytest.raises(WrongScores):
        deviations([0.102, 0.5, 0.9], EXPECTED, "fp32")


def test_int8_scores_may_deviate_but_must_correlate() -> None:
    assert deviations([0.12, 0.52, 0.92], EXPECTED, "int8")["max_deviation"] == pytest.approx(0.02)
    with pytest.raises(WrongScores):
        deviations([0.5, 0.1, 0.9], EXPECTED, "int8")


def test_constant_scores_are_an_error() -> None:
    with pytest.raises(WrongScores), pytest.warns(RuntimeWarning):
        deviations([0.5, 0.5, 0.5], EXPECTED, "int8")
