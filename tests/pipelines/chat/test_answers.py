"""The shapes in which servers of the protocol give a text."""

import json
from typing import Any

import pytest

from pipelines.errors import ProviderFailed
from tests.openai_server import Body, OpenAiServer
from tests.pipelines.chat.asking import BOTH, Ask, ask, failure, streamed, whole

NE = {"content": "네"}


def test_a_chunk_without_text_is_skipped(openai_server: OpenAiServer) -> None:
    reasoning = [{"type": "thinking", "thinking": []}]
    deltas = [{"role": "assistant"}, {"content": None}, {"content": reasoning}, {"content": "네"}]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    others = [{}, {"choices": None}, {"choices": [], "usage": {"total_tokens": 1}}, {"choices": [], "error": None}]
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in others + chunks)
    openai_server.script(Body(events, "text/event-stream"))
    assert ask(openai_server, streamed) == "네"


@pytest.mark.parametrize(
    "odd",
    [
        '{"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 1}}]}',  # Azure
        '{"choices": [{"index": 0, "delta": null}]}',
        '{"choices": [{"index": 0, "delta": {"content": 3}}]}',
        '{"choices": [3]}',
        "ok",
        "null",
    ],
)
def test_an_odd_event_does_not_end_a_stream(openai_server: OpenAiServer, odd: str) -> None:
    chunks = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in ("안", "녕")]
    events = "".join(f"data: {data}\n\n" for data in (odd, chunks[0], odd, chunks[1], odd, "[DONE]"))
    openai_server.script(Body(events, "text/event-stream"))
    assert ask(openai_server, streamed) == "안녕"


@BOTH
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "안"}, {"type": "text", "text": "녕"}], "안녕"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "음"}]}, {"type": "text", "text": "네"}], "네"),
        (["안", {"type": "image_url", "image_url": {}}, "녕"], "안녕"),
        ({"type": "text", "text": "네"}, "네"),
        ([{"type": "text", "text": {"value": "네", "annotations": []}}, None], "네"),
        ([], ""),
    ],
)
def test_the_text_of_parts_is_the_answer(openai_server: OpenAiServer, how: Ask, content: Any, text: str) -> None:
    message = json.dumps({"choices": [{"message": {"content": content}}]})
    stream = f"data: {json.dumps({'choices': [{'delta': {'content': content}}]})}\n\ndata: [DONE]\n\n"
    openai_server.script(Body(message) if how is whole else Body(stream, "text/event-stream"))
    assert ask(openai_server, how) == text


@BOTH
@pytest.mark.parametrize(
    "choices",
    [
        [None, {"{}": {"content": "네"}}],
        [{"{}": None}, {"index": 1, "{}": {"content": "네"}}],
        [{"index": 1, "{}": {"content": "아니요"}}, {"index": 0, "{}": {"content": "네"}}],
        [{"index": "0", "{}": {"content": "네"}}, {"index": 1, "{}": {"content": "아니요"}}],
        [{"index": 0, "text": "네"}],
    ],
)
def test_the_first_choice_with_a_text_is_the_answer(
    openai_server: OpenAiServer, how: Ask, choices: list[dict[str, Any] | None]
) -> None:
    text = json.dumps({"choices": choices}).replace("{}", "message" if how is whole else "delta")
    openai_server.script(Body(text) if how is whole else Body(f"data: {text}\n\n", "text/event-stream"))
    assert ask(openai_server, how) == "네"


@BOTH
def test_a_refusal_of_the_model_is_its_answer(openai_server: OpenAiServer, how: Ask) -> None:
    said = {"content": None, "refusal": "그건 안 돼요."}
    text = json.dumps({"choices": [{"message" if how is whole else "delta": said}]})
    openai_server.script(Body(text) if how is whole else Body(f"data: {text}\n\n", "text/event-stream"))
    assert ask(openai_server, how) == "그건 안 돼요."


def test_pieces_that_are_named_messages_are_the_answer_and_a_message_that_repeats_it_is_not(
    openai_server: OpenAiServer,
) -> None:
    def events(*choices: dict[str, Any]) -> Body:
        return Body("".join(f"data: {json.dumps({'choices': [c]})}\n\n" for c in choices), "text/event-stream")

    openai_server.script(events({"message": {"content": "안"}}, {"message": {"content": "녕"}}))
    assert ask(openai_server, streamed) == "안녕"
    whole_again = {"delta": {}, "message": {"content": "안녕"}, "finish_reason": "stop"}
    openai_server.script(events({"delta": {"content": "안"}}, {"delta": {"content": "녕"}}, whole_again))
    assert ask(openai_server, streamed) == "안녕"


@pytest.mark.parametrize(
    "event",
    [
        'event: error\ndata: {"message": "overloaded"}',
        'data: {"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 502}}]}',
        'data: {"error": "overloaded"}',
    ],
)
def test_an_error_in_any_place_of_a_stream_is_a_failure(openai_server: OpenAiServer, event: str) -> None:
    piece = json.dumps({"choices": [{"delta": {"content": "안"}}]})
    openai_server.script(Body(f"data: {piece}\n\n{event}\n\n", "text/event-stream"))
    assert isinstance(failure(openai_server, streamed), ProviderFailed)


def test_a_whole_answer_may_begin_with_a_byte_order_mark(openai_server: OpenAiServer) -> None:
    openai_server.script(Body("\ufeff" + json.dumps({"choices": [{"message": {"content": "네"}}]})))
    assert ask(openai_server, whole) == "네"
