"""The chat on the page."""

import json

from playwright.sync_api import expect

from .answers import citation, problem
from .page import WebPage
from .stub import Stub

SMILE = "\N{SLIGHTLY SMILING FACE}"


def test_an_answer_appears_as_it_arrives_and_its_citation_is_marked_in_its_passage(
    web: WebPage, stub: Stub, site: str
) -> None:
    done = {"citations": [citation("봄에 태어났다.", before=f"{SMILE} 처음. ", after=" 끝.", start=40)]}
    pieces = [("message", {"output": "봄에 "}), ("message", {"output": "태어났다."})]
    gate = stub.give_events("/v1/chat", *pieces, ("done", done))
    gate.clear()
    web.open(site, "chat")
    web.chat.ask("언제 태어났어?")
    expect(web.chat.reply).to_have_text("봄에 태어났다.")
    expect(web.chat.submit).to_be_disabled()
    expect(web.chat.citations).to_have_count(0)
    gate.set()
    expect(web.chat.marked).to_have_text("봄에 태어났다.")
    expect(web.chat.citations).to_contain_text(f"{SMILE} 처음. 봄에 태어났다. 끝.")
    expect(web.chat.citations).to_contain_text("46–54자")
    expect(web.chat.submit).to_be_enabled()
    path, body = stub.received[-1]
    asked = {"prompt": "언제 태어났어?", "api_key": "unused", "db_path": "vector_store/", "passages": True}
    assert (path, json.loads(body)) == ("/v1/chat", asked)


def test_turns_follow_each_other_and_a_failed_one_says_why(web: WebPage, stub: Stub, site: str) -> None:
    stub.give_events("/v1/chat", ("message", {"output": "네."}), ("done", {"citations": []}))
    failure = problem(502, "Bad Gateway", "the provider failed")
    stub.give_events("/v1/chat", ("message", {"output": "아"}), ("error", failure))
    stub.give("/v1/chat", problem(404, "Not Found", "no such store"), status=404)
    web.open(site, "chat")
    for number, words in enumerate(["네.", "the provider failed", "no such store"], 1):
        web.chat.ask(f"질문 {number}", store=f"store-{number}")
        expect(web.chat.turns).to_have_count(number)
        expect(web.chat.turns.last).to_contain_text(words)
        expect(web.chat.submit).to_be_enabled()
    expect(web.chat.turns.first).to_contain_text("질문 1")


def test_an_answer_that_breaks_off_is_no_answer(web: WebPage, stub: Stub, site: str) -> None:
    stub.give_events("/v1/chat", ("message", {"output": "반"}), ("message", {"output": "쪽"}))
    web.open(site, "chat")
    web.chat.ask("질문")
    expect(web.chat.error).to_contain_text("서버에 닿지 못했습니다.")


def test_the_key_of_the_language_model_is_asked_for_where_there_is_one(web: WebPage, stub: Stub, site: str) -> None:
    stub.reset()
    stub.give("/info", {"tasks": {"chat": {"kind": "generative", "model": "tiny"}}})
    stub.give_events("/v1/chat", ("message", {"output": "네."}), ("done", {"citations": []}))
    web.open(site, "chat")
    web.chat.provider_key.fill("sk-1")
    web.chat.ask("질문")
    expect(web.chat.reply).to_have_text("네.")
    assert json.loads(stub.received[-1][1])["api_key"] == "sk-1"


def test_without_a_language_model_there_is_no_field_for_its_key(web: WebPage, stub: Stub, site: str) -> None:
    stub.reset()
    stub.give("/info", {"tasks": {"chat": {"kind": "extractive", "model": None}}})
    with web.page.expect_response("**/info"):
        web.open(site, "chat")
    expect(web.chat.provider_key).to_be_hidden()
