"""Acceptability on the page."""

import json

import pytest
from playwright.sync_api import expect

from .answers import passages_answer
from .page import WebPage
from .stub import Stub


@pytest.mark.parametrize(
    ("prob", "percent", "words"),
    [(0.257, "25.7%", "문법에 어긋난 문장으로 보입니다."), (0.98, "98.0%", "문법에 맞는 문장으로 보입니다.")],
)
def test_probability_is_shown_as_number_bar_and_words(
    web: WebPage, stub: Stub, site: str, prob: float, percent: str, words: str
) -> None:
    stub.give("/generate", {"prob": prob})
    web.open(site)
    web.judge("I are a boy")
    expect(web.cola.number).to_contain_text(percent)
    expect(web.cola.meter).to_have_attribute("aria-valuenow", str(prob))
    expect(web.cola.verdict).to_have_text(words)
    assert json.loads(stub.received[-1][1]) == {"passage": "I are a boy"}


def test_truncated_text_is_reported(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", {"prob": 0.5}, headers={"X-Truncated": "true"})
    web.open(site)
    web.judge("A long one")
    expect(web.cola.notice).to_contain_text("앞부분만")


def test_each_sentence_of_a_paragraph_is_marked(web: WebPage, stub: Stub, site: str) -> None:
    bad = {"status": 500, "title": "", "detail": "the model failed", "errors": []}
    results = [*passages_answer(0.97, 0.04)["results"], {"error": bad}]
    stub.give("/v1/acceptability", {"results": results, "usage": {"tokens": 3}})
    web.open(site)
    web.judge("She sings well.  They was late! Nobody knows.")
    expect(web.cola.verdict).to_have_text("3문장 가운데 1문장이 어긋나 보입니다.")
    expect(web.cola.sentences).to_have_text(["She sings well.97%", "They was late!4%"])
    expect(web.cola.box.locator(".ill")).to_have_count(1)
    expect(web.cola.box.locator(".unjudged")).to_have_attribute("title", "the model failed")
    assert json.loads(stub.received[-1][1]) == {"passages": ["She sings well.", "They was late!", "Nobody knows."]}
