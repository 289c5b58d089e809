"""Filling in and sending forms."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from .answers import file_answer, pairs_answer, passages_answer, qa_answer, sts_answer
from .page import WebPage
from .stub import Stub


@pytest.mark.parametrize(
    ("task", "tab", "path", "answer"),
    [
        ("qa", "qa", "/api", qa_answer("본문", "본문")),
        ("sts", "sts", "/pred/sentences/", sts_answer(0.5, 0)),
        ("sts_file", "sts", "/pred/file/", file_answer([["가", "나"]])),
        ("cola", "cola", "/v1/acceptability", passages_answer(0.9, 0.1, 0.8, 0.2)),
        ("sts_many", "sts", "/v1/similarity", pairs_answer(*[0.5] * 15)),
    ],
)
def test_example_fills_a_form_that_can_be_sent(
    web: WebPage, stub: Stub, site: str, task: str, tab: str, path: str, answer: dict[str, Any]
) -> None:
    stub.give(path, answer)
    web.open(site, tab)
    box = getattr(web, task)
    box.example.click()
    box.submit.click()
    expect(box.result.locator(".hint")).to_have_count(0)
    expect(box.error).to_be_empty()
    assert stub.received[-1][0] == path


def test_example_file_has_the_documented_format(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", file_answer([["가", "나"]]))
    web.open(site, "sts")
    web.sts_file.example.click()
    web.sts_file.submit.click()
    expect(web.sts_file.rows).to_have_count(1)
    body = stub.received[-1][1]
    pairs = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["results"]
    assert [set(pair) for pair in pairs] == [{"idx", "sentence1", "sentence2"}] * len(pairs)
    assert [pair["idx"] for pair in pairs] == list(range(1, len(pairs) + 1))


def test_nothing_is_sent_while_a_field_is_empty(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    web.ask("", "본문")
    expect(web.qa.field("question")).to_be_focused()
    assert [path for path, _ in stub.received if path == "/api"] == []


def test_ctrl_enter_sends(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문", "본문"))
    web.open(site)
    web.qa.field("question").fill("무엇인가요?")
    web.qa.field("context").fill("본문")
    web.qa.field("context").press("Control+Enter")
    expect(web.qa.answer).to_have_text("본문")


def test_button_is_disabled_while_running_and_keeps_the_focus(web: WebPage, stub: Stub, site: str) -> None:
    gate = stub.give("/generate", {"prob": 0.9})
    gate.clear()
    web.open(site, "cola")
    web.judge("They sing.")
    expect(web.cola.submit).to_be_disabled()
    expect(web.cola.box).to_have_attribute("aria-busy", "true")
    expect(web.cola.box.get_by_role("status")).to_have_text("답을 기다리는 중입니다.")
    gate.set()
    expect(web.cola.submit).to_be_enabled()
    expect(web.cola.submit).to_be_focused()
    expect(web.cola.box.get_by_role("status")).to_contain_text("90.0%")


def test_newer_request_cancels_the_older_one(web: WebPage, stub: Stub, site: str) -> None:
    gate = stub.give("/api", qa_answer("옛 본문", "옛"))
    gate.clear()
    stub.give("/api", qa_answer("새 본문", "새"))
    web.open(site)
    with web.page.expect_request("**/api"):
        web.ask("옛 질문", "옛 본문")
    with web.page.expect_event("requestfailed") as failed:
        web.qa.field("context").fill("새 본문")
        web.qa.field("context").press("Control+Enter")
    assert failed.value.post_data_json["context"] == "옛 본문"
    expect(web.qa.answer).to_have_text("새")
    expect(web.qa.submit).to_be_enabled()
    expect(web.qa.error).to_be_empty()
