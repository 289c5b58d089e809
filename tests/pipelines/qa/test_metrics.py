import pytest

from pipelines.qa.metrics import Score, character_f1, exact_match, normalize, score, score_any, score_each


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("《운수 좋은 날》", "운수 좋은 날"),
        ("  New   York, N.Y. ", "new york ny"),
        ("(가)나", "가 나"),
        ("‘진달래꽃’", "진달래꽃"),
        ("1,000만", "1000만"),
    ],
)
def test_case_punctuation_and_quotes_do_not_count(answer: str, expected: str) -> None:
    assert normalize(answer) == expected


def test_exact_match_distinguishes_words_with_and_without_a_space() -> None:
    assert exact_match("<서울>", "서울.")
    assert not exact_match("서울 시", "서울시")


@pytest.mark.parametrize(
    ("predicted", "expected", "f1"),
    [
        ("서울시", "서울시", 1.0),
        ("서울 시", "서울시", 1.0),
        ("서울시", "서울", 0.8),
        ("부산", "서울", 0.0),
        ("", "서울", 0.0),
        ("서울", "", 0.0),
        ("", "", 1.0),
        ("가가", "가", 2 / 3),
    ],
)
def test_f1_counts_shared_characters(predicted: str, expected: str, f1: float) -> None:
    assert character_f1(predicted, expected) == pytest.approx(f1)


def test_f1_is_symmetric() -> None:
    assert character_f1("1931년에", "1931년") == character_f1("1931년", "1931년에")


def test_score_averages_over_questions() -> None:
    assert score(["서울", "서울시"], ["서울", "서울"]) == Score(exact_match=0.5, f1=0.9)


def test_the_best_score_over_the_accepted_answers_counts() -> None:
    accepted = [("서울", "서울시"), ("부산",), ("대구", "")]
    assert score_each(["서울시", "부산시", ""], accepted) == [(True, 1.0), (False, pytest.approx(0.8)), (True, 1.0)]
    assert score_any(["서울시", "부산시", ""], accepted).exact_match == pytest.approx(2 / 3)


def test_empty_lists_and_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        score(["가"], [])
    with pytest.raises(ValueError, match="no answers"):
        score([], [])
