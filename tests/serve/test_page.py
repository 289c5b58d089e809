"""The page in a real browser, on the real server."""

import json

import pytest
from playwright.sync_api import expect

from tests.serve.server import Server
from tests.web.page import WebPage

pytestmark = pytest.mark.serve

CONTEXT = "\N{BOOKS} 시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."


def test_an_answer_is_marked_at_its_place_in_the_context(web: WebPage, server: Server) -> None:
    web.open(server.url)
    web.ask("도서관은 몇 시에 문을 여나요?", CONTEXT)
    expect(web.qa.marked).not_to_be_empty()
    answer = web.qa.answer.inner_text()
    assert answer in CONTEXT
    assert web.qa.marked.inner_text() == answer
    assert CONTEXT.startswith(web.qa.text_before_mark() + answer)


def test_a_pair_a_file_and_a_sentence_get_their_scores(web: WebPage, server: Server) -> None:
    web.open(server.url)
    web.compare("오늘 비가 온다", "오늘 비가 온다")
    expect(web.sts.number).to_contain_text("1.0")
    rows = [{"idx": i, "sentence1": f"문장 {i}", "sentence2": "다른 문장"} for i in range(1, 4)]
    web.compare_file(json.dumps({"results": rows}).encode())
    expect(web.sts_file.rows).to_have_count(3)
    web.judge("The children are playing in the garden.")
    expect(web.cola.verdict).not_to_be_empty()


def test_a_large_file_becomes_a_job_whose_answers_appear_in_its_order(web: WebPage, server: Server) -> None:
    pairs = [(f"오늘 {number}번 문제를 풀었습니다. {'아주 ' * 20}", "날씨가 좋아요.") for number in range(400)]
    content = "".join(f"{left},{right}\n" for left, right in [("sentence1", "sentence2"), *pairs])
    web.open(server.url)
    web.compare_file(content.encode(), "pairs.csv")
    expect(web.sts_file.progress).to_be_visible()
    expect(web.sts_file.verdict).to_contain_text("400쌍 가운데", timeout=120_000)
    expect(web.sts_file.rows.nth(199)).to_contain_text("오늘 199번")
    expect(web.sts_file.error).to_be_empty()


def test_a_refused_file_is_explained(web: WebPage, server: Server) -> None:
    web.open(server.url)
    web.compare_file(b"not json")
    expect(web.sts_file.error).to_contain_text("neither JSON, JSON Lines nor CSV")


def test_the_documentation_loads_only_from_this_server(web: WebPage, server: Server) -> None:
    web.open(f"{server.url}/docs")
    expect(web.page.get_by_text("/pred/sentences/").first).to_be_visible()


def test_sample_requests_run_as_pulses_through_the_live_graph(web: WebPage, server: Server) -> None:
    web.open(server.url, "graph")
    expect(web.graph.boxes).to_have_count(9)
    web.graph.sample.click()
    expect(web.graph.pulses).not_to_have_count(0)
    expect(web.graph.box("ColaClassifier").locator("dd").nth(2)).not_to_have_text("–")  # the mean batch
    expect(web.graph.error).to_be_empty()


def test_a_chat_marks_its_answer_in_the_document(web: WebPage, server: Server) -> None:
    web.open(server.url, "chat")
    expect(web.chat.provider_key).to_be_hidden()
    web.chat.ask("생일이 언제예요?")
    expect(web.chat.marked).to_contain_text("11월 7일")
    assert web.chat.marked.inner_text() == web.chat.reply.inner_text()


def test_lists_and_alternatives_get_their_results(web: WebPage, server: Server) -> None:
    web.open(server.url)
    web.ask("도서관은 몇 시에 문을 여나요?", CONTEXT)
    web.qa.alternatives.locator("summary").click()
    expect(web.qa.alternatives.get_by_role("button").first).to_have_text(web.qa.answer.inner_text())
    web.compare_many("오늘 비가 온다", "오늘 비가 온다", "도서관은 아홉 시에 연다")
    expect(web.sts_many.rows.nth(1)).to_contain_text("1.00")
    web.judge("She sings well. The children is play garden in the.")
    expect(web.cola.sentences).to_have_count(2)
