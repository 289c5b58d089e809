"""Tabs, links and layout."""

import pytest
from playwright.sync_api import expect

from .answers import file_answer, problem, qa_answer, sts_answer
from .page import WebPage
from .stub import Stub

LONG_WORD = "가나다라마바사" * 60
TABS = ["qa", "sts", "cola", "chat", "graph"]


def test_arrow_home_and_end_keys_move_between_tabs(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    web.tab("qa").focus()
    for key, name in [
        ("ArrowRight", "sts"),
        ("ArrowLeft", "qa"),
        ("ArrowLeft", "graph"),
        ("ArrowRight", "qa"),
        ("End", "graph"),
        ("Home", "qa"),
    ]:
        web.page.keyboard.press(key)
        expect(web.tab(name)).to_be_focused()
        expect(web.tab(name)).to_have_attribute("aria-selected", "true")
        expect(web.panel(name)).to_be_visible()
        expect(web.page.get_by_role("tabpanel")).to_have_count(1)


def test_tab_key_goes_from_the_chosen_tab_into_its_form(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "sts")
    expect(web.tab("sts")).to_have_attribute("aria-selected", "true")
    web.tab("sts").focus()
    web.page.keyboard.press("Tab")
    expect(web.sts.field("sentence_1")).to_be_focused()


@pytest.mark.parametrize("name", TABS)
def test_deep_link_opens_its_tab(web: WebPage, stub: Stub, site: str, name: str) -> None:
    web.open(site, name)
    expect(web.panel(name)).to_be_visible()
    expect(web.tab(name)).to_have_attribute("aria-selected", "true")


def test_back_returns_to_the_previous_tab_and_keeps_its_text(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "qa")
    web.qa.field("question").fill("쓰던 질문")
    web.tab("cola").click()
    expect(web.panel("cola")).to_be_visible()
    web.page.go_back()
    expect(web.panel("qa")).to_be_visible()
    expect(web.qa.field("question")).to_have_value("쓰던 질문")


def test_unknown_deep_link_opens_the_first_tab(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "nothing")
    expect(web.panel("qa")).to_be_visible()


def test_every_field_has_a_name_for_screen_readers(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    fields = web.page.locator("input, textarea")
    assert fields.evaluate_all("(all) => all.filter((field) => !field.labels.length).length") == 0


def test_documentation_is_linked(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    expect(web.page.get_by_role("link", name="API 문서").first).to_have_attribute("href", "/docs")


@pytest.mark.parametrize("name", TABS)
def test_phone_never_scrolls_sideways(web: WebPage, stub: Stub, site: str, name: str) -> None:
    web.page.set_viewport_size({"width": 360, "height": 740})
    web.open(site, name)
    expect(web.panel(name)).to_be_visible()
    assert web.sideways_overflow() <= 0


def test_phone_never_scrolls_sideways_for_long_words(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer(LONG_WORD, LONG_WORD, LONG_WORD))
    stub.give("/pred/sentences/", sts_answer(0.9, 1, LONG_WORD, "x" * 400))
    stub.give("/pred/file/", file_answer([[LONG_WORD, "x" * 400]]))
    stub.give(
        "/generate", problem(422, LONG_WORD, "x" * 400, [{"pointer": "y" * 300, "detail": LONG_WORD}]), status=422
    )
    web.page.set_viewport_size({"width": 360, "height": 740})
    web.open(site)
    web.ask(LONG_WORD, LONG_WORD)
    expect(web.qa.marked).to_be_visible()
    assert web.sideways_overflow() <= 0
    web.compare(LONG_WORD, LONG_WORD)
    expect(web.sts.meter).to_be_visible()
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(1)
    assert web.sideways_overflow() <= 0
    web.judge("x" * 400)
    expect(web.cola.error_items).to_have_count(1)
    assert web.sideways_overflow() <= 0
