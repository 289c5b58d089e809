import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipelines.chat.extractive import ExtractiveAnswers, sentence_around
from pipelines.chat.passage import Passage
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply
from pipelines.errors import EngineError
from pipelines.qa.spans import Answer

ASKED = ChatRequest("언제 태어났어?", "vector_store/", SecretStr("sk"))
UNKNOWN = "잘 모르겠어요."
FAMILY = "# 가족\n\n- 한결은 3.5킬로그램으로 태어났다. 1994년 3월의 일이다! \n- 형제는 없다."
HOBBY = "주말마다 산에 오른다. 비가 오면 쉰다."


def passage(document: str, start: int, text: str) -> Passage:
    return Passage(document, start, start + len(text), text, 0.5, 0.4, None)


GROUNDS = Grounds("vector_store", (passage("family.md", 100, FAMILY), passage("hobby.md", 7, HOBBY)))


def span(context: str, text: str, score: float, null_score: float) -> Answer:
    start = context.index(text) if text else 0
    return Answer(text, start, start + len(text), score, null_score, 1)


def answers(*spans: Answer, threshold: float = 0.0) -> ExtractiveAnswers:
    by_context = dict(zip((FAMILY, HOBBY), spans, strict=True))

    async def extract(requests: Sequence[tuple[str, str]]) -> list[Answer]:
        assert all(question == ASKED.prompt for question, _ in requests)
        return [by_context[context] for _, context in requests]

    return ExtractiveAnswers(extract, threshold=threshold, unknown=UNKNOWN)


def reply(*spans: Answer, threshold: float = 0.0) -> Reply:
    return asyncio.run(answers(*spans, threshold=threshold).reply(ASKED, GROUNDS))


def test_the_answer_is_the_sentence_of_the_span_that_stands_out_most_over_its_null_score() -> None:
    found = reply(span(FAMILY, "1994년 3월", 5.0, 1.0), span(HOBBY, "산에", 9.0, 8.0))
    start = 100 + FAMILY.index("1994")
    assert found.output == "1994년 3월의 일이다!"
    assert found.citations == (Citation("vector_store", "family.md", start, start + len(found.output), 0.5, 0.4, None),)


def test_below_the_threshold_the_answer_is_that_it_is_not_known() -> None:
    spans = (span(FAMILY, "1994년 3월", 5.0, 1.0), span(HOBBY, "산에", 1.0, 8.0))
    assert reply(*spans, threshold=4.0).output == "1994년 3월의 일이다!"
    assert reply(*spans, threshold=4.1) == Reply(UNKNOWN, ())


def test_a_passage_without_a_span_is_no_answer_whatever_its_scores() -> None:
    assert reply(span(FAMILY, "", 0.0, 0.0), span(HOBBY, "", 0.0, -9.0), threshold=-99) == Reply(UNKNOWN, ())


def test_nothing_found_is_not_known() -> None:
    found = asyncio.run(answers(span(FAMILY, "", 0, 0), span(HOBBY, "", 0, 0)).reply(ASKED, Grounds("s", ())))
    assert found == Reply(UNKNOWN, ())


def test_a_stream_is_the_same_in_one_piece_and_then_whole() -> None:
    spans = (span(FAMILY, "1994년 3월", 5.0, 1.0), span(HOBBY, "산에", 1.0, 8.0))

    async def collect() -> list[str | Reply]:
        return [piece async for piece in answers(*spans).stream(ASKED, GROUNDS)]

    whole = reply(*spans)
    assert asyncio.run(collect()) == [whole.output, whole]


def test_what_the_extractor_fails_with_is_the_callers() -> None:
    async def extract(requests: Sequence[tuple[str, str]]) -> list[Answer]:
        raise EngineError("RuntimeError")

    with pytest.raises(EngineError):
        asyncio.run(ExtractiveAnswers(extract, threshold=0, unknown=UNKNOWN).reply(ASKED, GROUNDS))


@pytest.mark.parametrize(
    ("text", "inside", "sentence"),
    [
        (FAMILY, "3.5", "한결은 3.5킬로그램으로 태어났다."),
        (FAMILY, "없다", "형제는 없다."),
        (FAMILY, "가족", "가족"),
        (FAMILY, "태어났다. 1994년", "한결은 3.5킬로그램으로 태어났다. 1994년 3월의 일이다!"),
        ("1. 첫째다.\n> 2) 둘째다", "둘째", "둘째다"),
        ("그는 “가자.” 하고 말했다. 그리고 갔다.", "말했다", "하고 말했다."),
        ("점이 없는 글", "없는", "점이 없는 글"),
        ("- - -", "-", "-"),
    ],
)
def test_a_sentence_is_whole_and_without_markup(text: str, inside: str, sentence: str) -> None:
    start = text.index(inside)
    low, high = sentence_around(text, start, start + len(inside))
    assert text[low:high] == sentence or inside == "-"
    assert low <= start < start + len(inside) <= high


@given(st.text(alphabet="가 나.!?\n#-1)\"'”a\t", min_size=1), st.data())
def test_a_sentence_holds_the_span_that_it_is_around(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    low, high = sentence_around(text, start, end)
    assert 0 <= low <= start < end <= high <= len(text)
