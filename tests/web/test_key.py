"""The page on a server that asks for an API key."""

import pytest
from playwright.sync_api import expect

from .answers import file_answer, problem, sts_answer
from .page import WebPage
from .stub import Stub

KEY = "Zx-5f3a_canary"
REFUSED = problem(401, "Unauthorized", "an API key is needed")


def test_without_a_need_for_a_key_there_is_no_form_and_none_is_sent(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.number).to_contain_text("90.0%")
    expect(web.key_form).to_be_hidden()
    assert {authorization for _, authorization in stub.authorizations} == {None}


def test_a_refused_request_asks_for_a_key_which_the_next_one_sends(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", REFUSED, status=401)
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.error).to_contain_text("an API key is needed")
    web.use_key(f" {KEY} ")
    expect(web.key_form.get_by_role("status")).to_contain_text("이 키로")
    web.cola.submit.click()
    expect(web.cola.number).to_contain_text("90.0%")
    assert [sent for path, sent in stub.authorizations if path == "/generate"] == [None, f"Bearer {KEY}"]


def test_the_page_asks_for_a_key_at_once_and_then_reads_the_threshold(web: WebPage, stub: Stub, site: str) -> None:
    stub.answers.clear()
    stub.give("/info", REFUSED, status=401)
    stub.give("/info", {"tasks": {"sts": {"kind": "bi-encoder", "threshold": 0.6}}})
    stub.give("/pred/sentences/", sts_answer(0.9, 1))
    web.open(site)
    expect(web.key_form).to_be_visible()
    web.use_key(KEY)
    web.compare("첫 문장", "둘째 문장")
    expect(web.sts.meter).to_contain_text("기준 0.6")


def test_a_file_is_sent_with_the_key(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", REFUSED, status=401)
    stub.give("/pred/file/", file_answer([["가", "나"]]))
    web.open(site)
    web.compare_file(b"{}")
    web.use_key(KEY)
    web.sts_file.submit.click()
    expect(web.sts_file.rows).to_have_count(1)
    assert ("/pred/file/", f"Bearer {KEY}") in stub.authorizations


def test_the_key_lasts_as_long_as_the_tab_and_is_nowhere_else(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", REFUSED, status=401)
    web.open(site)
    web.judge("They sing.")
    web.use_key(KEY)
    web.page.reload()
    expect(web.key_form).to_be_visible()
    assert stub.authorizations[-1] == ("/info", f"Bearer {KEY}")
    assert web.page.evaluate("localStorage.length") == 0
    assert web.page.context.cookies() == []
    assert KEY not in web.page.url
    other = WebPage(web.page.context.new_page())
    other.open(site)
    expect(other.key_form).to_be_hidden()


def test_an_empty_key_removes_the_key(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", REFUSED, status=401)
    web.open(site)
    web.judge("They sing.")
    web.use_key(KEY)
    web.use_key("")
    expect(web.key_form.get_by_role("status")).to_contain_text("지웠습니다")
    web.page.reload()
    expect(web.key_form).to_be_hidden()
    assert stub.authorizations[-1] == ("/info", None)


def test_a_key_without_the_scope_is_explained(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", problem(403, "Forbidden", "the API key lacks the scope infer"), status=403)
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.error).to_contain_text("이 API 키로는 쓸 수 없는 기능입니다.")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_form_does_not_widen_the_page(web: WebPage, stub: Stub, site: str, width: int) -> None:
    stub.give("/generate", REFUSED, status=401)
    web.page.set_viewport_size({"width": width, "height": 740})
    web.open(site)
    web.judge("They sing.")
    expect(web.key_form).to_be_visible()
    assert web.sideways_overflow() <= 0
