from pipelines.qa.floor import lexical_answer


def test_the_word_beside_the_repeated_ones_is_the_answer() -> None:
    context = "한강은 서울을 지난다. 건축가 가람이 다리를 설계했다, 낙동강은 부산을 지난다."
    assert lexical_answer("한강은 어디를 지난다?", context) == "서울"


def test_a_context_that_only_repeats_the_question_has_no_answer() -> None:
    assert lexical_answer("서울은 어디인가?", "서울은 어디인가?") == ""
