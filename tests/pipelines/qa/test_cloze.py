from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.qa.cloze import Blank, ask, cloze_questions, draw_blank, question_word, reword

PASSAGE = "시립 도서관은 1998년에 부산에서 처음 문을 열었다. 지금은 책 《푸른 바다》를 비롯해 약 3만 권을 가지고 있다."
words = st.text(alphabet="가나다은는에서을 1998년월일명.《》'aB", max_size=60)


@given(st.lists(words, max_size=5), st.integers(0, 4), st.integers(0, 99))
def test_answers_stand_in_the_passage_and_not_in_the_question(parts: list[str], count: int, seed: int) -> None:
    passage = ". ".join((*parts, PASSAGE))
    made = cloze_questions(passage, count, Random(seed))
    assert len(made) <= count
    for example in made:
        assert example.context == passage
        assert example.answer.strip()
        assert example.question.strip()


def test_the_same_draw_makes_the_same_questions() -> None:
    first, again, other = (cloze_questions(PASSAGE, 5, Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_kind_of_blank_is_asked_for() -> None:
    draw = Random(0)
    found = {(example.answer) for _ in range(60) for example in cloze_questions(PASSAGE, 3, draw)}
    assert {"1998년", "푸른 바다", "약 3만 권", "부산", "도서관"} <= found


@pytest.mark.parametrize("text", ["", "짧다.", "그리고 그러나 다시 또 어쩌면 아주 잘 했다."])
def test_a_text_without_anything_to_ask_for_gives_no_question(text: str) -> None:
    assert cloze_questions(text, 3, Random(0)) == []
    assert draw_blank(text, Random(0)) is None


def test_too_few_words_make_no_question() -> None:
    assert all(ask("그는 갔다.", Blank(0, 1, "noun", "는"), Random(seed)) is None for seed in range(20))


@pytest.mark.parametrize(
    ("answer", "blank", "expected"),
    [
        ("1998년", Blank(0, 5, "date"), {"언제", "몇 년", "몇 년도", "어느 해"}),
        ("3명", Blank(0, 2, "number"), {"몇 명", "몇명", "얼마나"}),
        ("30달러", Blank(0, 4, "number"), {"얼마", "얼마나", "몇 달러"}),
        ("부산", Blank(0, 2, "noun", "에서"), {"어디", "어느 곳"}),
        ("친구", Blank(0, 2, "noun", "에게"), {"누구"}),
    ],
)
def test_question_words_fit_what_they_ask_for(answer: str, blank: Blank, expected: set[str]) -> None:
    assert {question_word(answer, blank, Random(seed)) for seed in range(50)} == expected


def test_words_are_now_and_then_inflected_otherwise() -> None:
    forms = {reword("도서관은", Random(seed)) for seed in range(200)}
    assert {"도서관은", "도서관", "도서관을"} <= forms
