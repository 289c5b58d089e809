"""Helpers of the tests of the chat's routes."""

import json
from typing import Any

import pytest

from pipelines.chat.extractive import ExtractiveAnswers
from pipelines.chat.pipeline import Answers, ChatPipeline
from tests.pipelines.chat.memory_store import MemoryStores
from tests.pipelines.chat.shipped import Shipped

KEY = "sk-canary-5f3a"
DOCUMENTS = {
    "birth.md": "# 출생\n\n윤슬기는 1991년 5월 4일 통영에서 태어났다. 그날은 비가 왔다.",
    "work.md": "윤슬기는 2015년부터 시립 도서관에서 사서로 일한다. 월요일에는 쉰다.",
    "pets.md": "고양이 두 마리와 산다. 이름은 보리와 두부다.",
}
ASKED = {"prompt": "윤슬기는 어디에서 태어났어?", "api_key": KEY, "db_path": "vector_store/"}
EVENTS = {"Accept": "text/event-stream"}
BOTH = pytest.mark.parametrize("path", ["/chat/", "/v1/chat"])
WAIT_S = 10


def chats(shipped: Shipped, stores: MemoryStores, answers: Answers | None = None) -> ChatPipeline:
    extractive = ExtractiveAnswers(
        shipped.extract,
        shipped.embed_sentences,
        sentences=5,
        cosine_weight=0,
        margin_weight=0.01,
        threshold=0.1,
        unknown="모른다.",
    )  # type: ignore[arg-type]
    return ChatPipeline(stores, shipped.embed, answers or extractive, passages=2)


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of each event of a stream."""
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n")) for block in text.removesuffix("\n\n").split("\n\n")
    ]
    return [(block.get("event", "message"), json.loads(block["data"])) for block in blocks]
