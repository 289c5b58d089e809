"""Markup in the texts of users and servers is shown as text."""

import json

from playwright.sync_api import expect

from .answers import file_answer, problem, qa_answer, sts_answer
from .page import WebPage
from .stub import Stub

MARKUP = '<img src=x onerror="window.ran=1"><script>window.ran=1</script><b>굵게</b>'


def assert_inert(web: WebPage) -> None:
    assert web.page.evaluate("window.ran") is None
    assert web.page.locator("main img, main script, main b:not(.error b)").count() == 0


def test_markup_in_question_context_and_answer_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    context = f"앞 {MARKUP} 뒤"
    stub.give("/api", qa_answer(context, MARKUP, question=MARKUP))
    web.open(site)
    web.ask(MARKUP, context)
    expect(web.qa.answer).to_have_text(MARKUP)
    expect(web.qa.marked).to_have_text(MARKUP)
    expect(web.qa.result).to_contain_text(f"앞 {MARKUP} 뒤")
    assert_inert(web)


def test_markup_in_sentences_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/sentences/", sts_answer(0.9, 1, MARKUP, MARKUP))
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.compare(MARKUP, MARKUP)
    expect(web.sts.result).to_contain_text(MARKUP)
    web.judge(MARKUP)
    expect(web.cola.result).to_contain_text(MARKUP)
    assert_inert(web)


def test_markup_in_a_file_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", file_answer([[MARKUP, "둘째"]]))
    web.open(site)
    web.compare_file(
        json.dumps({"results": [{"idx": 1, "sentence1": MARKUP, "sentence2": "둘째"}]}).encode(), "<b>.json"
    )
    expect(web.sts_file.rows).to_contain_text([MARKUP])
    assert_inert(web)


def test_markup_in_a_problem_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": f"/{MARKUP}", "code": "bad", "detail": MARKUP}, {"pointer": "/question", "detail": MARKUP}]
    stub.give("/api", {**problem(422, MARKUP, MARKUP, errors), "instance": MARKUP}, status=422)
    web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error_items).to_have_text([f"/{MARKUP}: {MARKUP}", f"질문: {MARKUP}"])
    assert_inert(web)
