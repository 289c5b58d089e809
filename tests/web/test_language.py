"""Korean and English."""

import re

import pytest
from playwright.sync_api import Browser, expect

from .answers import graph_answer, problem, qa_answer, sts_answer
from .page import WebPage
from .stub import Stub

HANGUL = re.compile("[가-힣]")
NAMES_OF_LANGUAGES = ["문장", "한국어"]


@pytest.mark.parametrize(("locale", "language"), [("ko-KR", "ko"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_browser_chooses_the_language(browser: Browser, stub: Stub, site: str, locale: str, language: str) -> None:
    context = browser.new_context(locale=locale)
    web = WebPage(context.new_page())
    web.open(site)
    expect(web.page.locator("html")).to_have_attribute("lang", language)
    context.close()


def test_the_button_changes_all_texts_also_those_of_answers_and_errors(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("text", "", "question"))
    stub.give("/pred/sentences/", sts_answer(0.9, 1, "first", "second"))
    stub.give("/generate", problem(422, "Invalid input", ""), status=422)
    stub.give("/v1/graph", graph_answer(3))
    web.open(site)
    web.ask("q", "text")
    web.compare("first", "second")
    expect(web.sts.verdict).to_have_text("두 문장은 같은 뜻으로 보입니다.")
    web.judge("x")
    expect(web.cola.error).to_contain_text("입력을 확인해 주세요.")
    web.tab("graph").click()
    expect(web.graph.box("StsEncoder")).to_contain_text("모델")
    web.language.click()
    expect(web.sts.verdict).to_have_text("The sentences seem to mean the same.")
    expect(web.qa.verdict).to_have_text("The text has no answer to this question.")
    expect(web.graph.box("StsEncoder")).to_contain_text("model")
    web.tab("cola").click()
    expect(web.cola.error).to_contain_text("Please check the input.")
    everything = web.page.locator("body").evaluate(
        "(body) => body.textContent + [...body.querySelectorAll('[aria-label], [placeholder], [title]')]"
        ".map((one) => one.ariaLabel + one.placeholder + one.title).join('')"
    )
    sample = web.sts_file.box.locator("pre").text_content() or ""
    noscript = web.page.locator("noscript").text_content() or ""
    for text in (web.language.get_attribute("aria-label") or "", sample, noscript, *NAMES_OF_LANGUAGES):
        everything = everything.replace(text, "")
    assert HANGUL.findall(everything) == []


def test_the_choice_is_kept(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    web.language.click()
    web.page.reload()
    expect(web.page.locator("html")).to_have_attribute("lang", "en")
    web.language.click()
    expect(web.tab("qa")).to_have_text("질의응답")
