"""How the page explains failures."""

from typing import Any

import pytest
from playwright.sync_api import expect

from .answers import problem, qa_answer
from .page import WebPage
from .stub import Stub, serving


def test_problem_is_shown_with_its_fields_and_request_id(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": "/sentence_2", "code": "blank", "detail": "must hold some text"}]
    body = problem(422, "Invalid input", "One field is at fault.", errors)
    stub.give("/pred/sentences/", body, status=422, headers={"X-Request-ID": "req-42"})
    web.open(site)
    web.compare("첫 문장", "   ")
    expect(web.sts.error).to_contain_text("입력을 확인해 주세요.")
    expect(web.sts.error).to_contain_text("Invalid input — One field is at fault.")
    expect(web.sts.error_items).to_have_text(["문장 2: must hold some text"])
    expect(web.sts.error).to_contain_text("요청 번호 req-42")
    expect(web.sts.field("sentence_2")).to_have_attribute("aria-invalid", "true")
    expect(web.sts.field("sentence_1")).not_to_have_attribute("aria-invalid", "true")


def test_invalid_row_of_a_file_is_shown_with_the_number_of_its_pair(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": "/results/516/sentence2", "code": "missing", "detail": "is missing"}]
    stub.give("/pred/file/", problem(422, "Invalid input", "", errors), status=422)
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.error_items).to_have_text(["517번째 쌍 sentence2: is missing"])
    expect(web.sts_file.error).to_contain_text("요청 번호 req-7")


def test_error_disappears_with_the_next_answer(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", problem(422, "Invalid input", "", [{"pointer": "/passage", "detail": "no"}]), status=422)
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.error).to_contain_text("Invalid input")
    expect(web.cola.result).to_be_empty()
    web.cola.submit.click()
    expect(web.cola.number).to_contain_text("90.0%")
    expect(web.cola.error).to_be_empty()
    expect(web.cola.field("passage")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (502, "<html><h1>Bad Gateway</h1></html>", {}, "서버에 문제가 생겼습니다 (502)."),
        (500, "", {"X-Request-ID": "req-9"}, "요청 번호 req-9"),
        (429, problem(429, "Busy", "Over capacity."), {"Retry-After": "7"}, "7초 뒤에 다시 보내 주세요."),
        (401, problem(401, "Unauthorized", "No key."), {}, "API 키"),
        (413, problem(413, "Too long", "Over the limit."), {}, "보낸 내용이 너무 깁니다."),
        (404, {"detail": "Not Found"}, {}, "Not Found"),
        (418, "[]", {}, "서버가 요청을 받아들이지 않았습니다 (418)."),
        (200, "<html>hello</html>", {}, "서버의 답을 읽을 수 없습니다."),
        (200, "null", {}, "서버의 답을 읽을 수 없습니다."),
    ],
)
def test_refusal_is_explained(
    web: WebPage, stub: Stub, site: str, status: int, body: Any, headers: dict[str, str], words: str
) -> None:
    stub.give("/api", body, status=status, headers=headers)
    web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error).to_contain_text(words)
    expect(web.qa.submit).to_be_enabled()


def test_answer_without_its_fields_is_reported(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", {"results": []})
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.error).to_contain_text("서버의 답을 이해하지 못했습니다.")
    assert len(web.complaints) == 1
    web.complaints.clear()


def test_server_that_does_not_answer_is_reported(web: WebPage) -> None:
    with serving(Stub()) as site:
        web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error).to_contain_text("서버에 닿지 못했습니다.")
    expect(web.qa.submit).to_be_enabled()


def test_request_times_out_after_a_minute(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문", "본문")).clear()
    web.page.clock.install()
    web.open(site)
    with web.page.expect_request("**/api"):
        web.ask("무엇인가요?", "본문")
    web.page.clock.fast_forward(59_000)
    expect(web.qa.submit).to_be_disabled()
    web.page.clock.fast_forward(2_000)
    expect(web.qa.error).to_contain_text("60초를 기다렸지만 답이 오지 않았습니다.")
    expect(web.qa.submit).to_be_enabled()
