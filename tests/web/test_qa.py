"""Question answering on the page."""

import json

import pytest
from playwright.sync_api import expect

from .answers import qa_answer, spans_answer
from .page import WebPage
from .stub import Stub


def test_question_gets_its_answer_marked_inside_the_context(web: WebPage, stub: Stub, site: str) -> None:
    context = "종묘는 서울에 있다.\n경기전은 전주에 있다."
    stub.give("/api", qa_answer(context, "전주", "경기전은 어디에 있나요?"))
    web.open(site)
    web.ask("경기전은 어디에 있나요?", context)
    expect(web.qa.answer).to_have_text("전주")
    expect(web.qa.marked).to_have_text("전주")
    assert web.qa.text_before_mark() == "종묘는 서울에 있다.\n경기전은 "
    assert web.qa.passage.text_content() == context
    path, body = stub.received[-1]
    assert (path, json.loads(body)) == ("/api", {"question": "경기전은 어디에 있나요?", "context": context})


def test_first_occurrence_is_marked_if_the_server_sends_no_span(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("🙂 봄 다음도 봄", "봄"))
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_count(1)
    assert web.qa.text_before_mark() == "🙂 "


@pytest.mark.parametrize(
    ("context", "answer", "span", "before"),
    [
        ("봄이 가면 봄이 온다", "봄", "6-7", "봄이 가면 "),
        ("🙂👍🏽 봄이 가면 🌸 봄이 온다", "봄", "12-13", "🙂👍🏽 봄이 가면 🌸 "),
        ("🌸꽃 🌸꽃", "🌸꽃", "3-5", "🌸꽃 "),
    ],
)
def test_span_header_counts_code_points(
    web: WebPage, stub: Stub, site: str, context: str, answer: str, span: str, before: str
) -> None:
    stub.give("/api", qa_answer(context, answer), headers={"X-Answer-Span": span})
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_text(answer)
    assert web.qa.text_before_mark() == before
    assert web.qa.passage.text_content() == context


@pytest.mark.parametrize("span", ["", "abc", "0-1", "7-3", "90-95"])
def test_span_header_that_does_not_fit_the_answer_is_ignored(web: WebPage, stub: Stub, site: str, span: str) -> None:
    stub.give("/api", qa_answer("여름 봄", "봄"), headers={"X-Answer-Span": span})
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_text("봄")
    assert web.qa.text_before_mark() == "여름 "


def test_empty_answer_is_explained(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문입니다.", ""), headers={"X-Answer-Span": "0-0"})
    web.open(site)
    web.ask("누구인가요?", "본문입니다.")
    expect(web.qa.verdict).to_have_text("본문에서 답을 찾지 못했습니다.")
    expect(web.qa.passage).to_have_text("본문입니다.")
    expect(web.qa.marked).to_have_count(0)


def test_other_answers_are_asked_for_on_demand_and_marked_when_chosen(web: WebPage, stub: Stub, site: str) -> None:
    context = "\N{SLIGHTLY SMILING FACE} 종묘는 서울에 있다. 경기전은 전주에 있다."
    stub.give("/api", qa_answer(context, "전주", "어디에 있나요?"))
    stub.give("/v1/answers", spans_answer(context, ("전주", 0.625), ("서울", 0.25), none=0.125))
    web.open(site)
    web.ask("어디에 있나요?", context)
    expect(web.qa.marked).to_have_text("전주")
    assert "/v1/answers" not in [path for path, _ in stub.received]
    web.qa.alternatives.locator("summary").click()
    lines = ["전주62.5%", "서울25.0%", "본문에 답이 없음12.5%"]
    expect(web.qa.alternatives.get_by_role("listitem")).to_have_text(lines)
    assert json.loads(stub.received[-1][1]) == {"questions": ["어디에 있나요?"], "context": context, "top_k": 5}
    web.qa.alternatives.get_by_role("button", name="서울").click()
    expect(web.qa.marked).to_have_text("서울")
    assert web.qa.passage.text_content() == context
