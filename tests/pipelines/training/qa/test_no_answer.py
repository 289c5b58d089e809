from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.qa.data import Example
from pipelines.qa.spans import Answer
from pipelines.training.qa.no_answer import figures, fit_threshold

CONTEXT = "The museum is in Busan."
BUSAN = Example("1", "Where?", CONTEXT, 17, 22, ("in Busan",))
NOWHERE = Example("2", "Who?", CONTEXT, 0, 0)

margins = st.integers(-40, 40).map(lambda number: number / 8)  # few values, so that some are equal
questions = st.lists(st.tuples(margins, st.sampled_from([0.0, 0.3, 1.0]), st.booleans()), min_size=1, max_size=12)


def answer(text: str, margin: float) -> Answer:
    return Answer(text, 0, len(text), 2.0, 2.0 + margin, 1, "digest")


@given(questions)
def test_no_other_threshold_gives_a_higher_score(asked: Sequence[tuple[float, float, bool]]) -> None:
    margins, spans, nothing = (np.array(column, dtype=float) for column in zip(*asked, strict=True))

    def total(threshold: float) -> float:
        return float(np.where(margins > threshold, nothing, spans).sum())

    best = fit_threshold(margins, spans - nothing)
    assert best not in margins
    assert all(total(best) >= total(other) - 1e-9 for other in [*margins, margins.min() - 1, margins.max() + 1])


def test_among_equally_good_thresholds_the_widest_gap_is_taken() -> None:
    assert fit_threshold(np.array([0.0, 1.0, 5.0, 6.0]), np.array([1.0, 0.0, 0.0, -1.0])) == 3.0


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 2.5), (-1.0, 0.5)])
def test_if_all_or_none_should_be_answered_the_threshold_is_beyond_all_margins(gain: float, expected: float) -> None:
    assert fit_threshold(np.array([1.0, 2.0]), np.array([gain, gain])) == expected


def test_without_unanswerable_questions_the_figures_are_those_of_the_spans() -> None:
    found = figures([BUSAN, BUSAN], [answer("Busan", 9.0), answer("Busa", -9.0)])
    assert found == {"exact_match": 0.5, "f1": pytest.approx((1 + 8 / 9) / 2)}


def test_each_accepted_answer_is_right() -> None:
    assert figures([BUSAN], [answer("in Busan", 0.0)])["exact_match"] == 1.0


def test_figures_of_questions_with_and_without_an_answer() -> None:
    asked = [BUSAN, NOWHERE, BUSAN, NOWHERE]
    found = figures(asked, [answer("Busan", margin) for margin in (-3.0, -2.0, -1.0, 1.0)])
    assert found == {
        "exact_match": 0.75,
        "f1": 0.75,
        "has_answer_exact_match": 1.0,
        "has_answer_f1": 1.0,
        "no_answer_accuracy": 0.5,
        "threshold": 0.0,
    }


def test_data_with_only_unanswerable_questions_has_figures() -> None:
    found = figures([NOWHERE], [answer("Busan", 1.0)])
    assert found == {"exact_match": 1.0, "f1": 1.0, "no_answer_accuracy": 1.0, "threshold": 0.5}


def test_a_context_without_windows_does_not_affect_the_threshold() -> None:
    blank = Answer("", 0, 0, np.inf, np.inf, 0, "digest")
    found = figures([NOWHERE, NOWHERE, BUSAN], [blank, answer("x", 4.0), answer("Busan", -2.0)])
    assert found["exact_match"] == 1.0
    assert -2.0 < found["threshold"] < 4.0
