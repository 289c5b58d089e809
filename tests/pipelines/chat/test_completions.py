import asyncio
import gzip
import json
import logging
import ssl
import traceback
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from pipelines.errors import ProviderAnswerUnusable, ProviderError, ProviderFailed, ProviderOverloaded
from tests.openai_server import Body, Break, Endless, ErrorInStream, OpenAiServer, Refuse, Say
from tests.pipelines.chat.asking import ASKED, BOTH, KEY, WAIT_S, Ask, ask, failure, provider_at, streamed, whole


@BOTH
def test_an_answer_over_its_limit_is_refused(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Say(["가" * 400]) if how is whole else Endless())
    error = failure(openai_server, how, max_answer_bytes=1000)
    assert str(error) == "the language-model provider gave an unusable answer: it is longer than this server takes"
    assert len(openai_server.calls) == 1


@BOTH
@pytest.mark.parametrize(("status", "kind"), [(200, ProviderAnswerUnusable), (500, ProviderFailed)])
def test_a_body_without_an_end_is_left_at_the_limit(
    openai_server: OpenAiServer, how: Ask, status: int, kind: type[ProviderError]
) -> None:
    openai_server.script(Endless(raw=b"x" * 1000, status=status))
    error = failure(openai_server, how, max_answer_bytes=100_000, max_retries=0, timeout_s=WAIT_S)
    assert type(error) is kind
    openai_server.hung_up.get(timeout=WAIT_S)


@BOTH
def test_a_small_body_that_would_grow_is_not_decompressed(openai_server: OpenAiServer, how: Ask) -> None:
    text = json.dumps({"choices": [{"message": {"content": "가" * 2**20}}]})
    openai_server.script(Body(gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"}))
    assert isinstance(failure(openai_server, how, max_answer_bytes=100_000), ProviderAnswerUnusable)
    assert openai_server.calls[0].headers["accept-encoding"] == "identity"


NO_YEAR = "Wed, 21 Oct 99999999999 07:28:00 GMT"


@BOTH
def test_the_answer_is_the_models_and_the_key_the_callers(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Say(["안녕", "하세요. ", "🙂"]))
    assert ask(openai_server, how) == "안녕하세요. 🙂"
    (call,) = openai_server.calls
    assert call.authorization == f"Bearer {KEY}"
    stream = {"stream": True} if how is streamed else {}
    assert call.body == {"model": "tiny", "messages": ASKED, **stream}


@BOTH
@pytest.mark.parametrize("asked", [{"temperature": 0.0, "max_tokens": 9}, {"max_completion_tokens": 9}])
def test_what_some_models_refuse_is_sent_where_the_operator_sets_it(
    openai_server: OpenAiServer, how: Ask, asked: dict[str, float]
) -> None:
    openai_server.script(Say(["네"]))
    ask(openai_server, how, **asked)
    assert asked.items() <= openai_server.calls[0].body.items()


def test_the_operators_environment_is_not_sent_with_a_callers_key(
    openai_server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "the-operators")
    openai_server.script(Say(["네"]))
    ask(openai_server, whole)
    assert "the-operators" not in str(openai_server.calls[0].headers)


def test_callers_at_the_same_time_have_their_own_keys(openai_server: OpenAiServer) -> None:
    openai_server.script(Say(["네"]))

    async def scenario() -> None:
        async with provider_at(openai_server.url) as provider:
            calls = [
                provider.complete([{"role": "user", "content": f"key-{number}"}], SecretStr(f"key-{number}"))
                for number in range(20)
            ]
            await asyncio.gather(*calls)

    asyncio.run(scenario())
    sent = {call.body["messages"][0]["content"]: call.authorization for call in openai_server.calls}
    assert sent == {f"key-{number}": f"Bearer key-{number}" for number in range(20)}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("", 1),
        ("soon", 1),
        ("-5", 1),
        ("9" * 400, 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        (NO_YEAR, 1),
    ],
)
def test_when_to_come_back_is_what_the_provider_says(openai_server: OpenAiServer, header: str, seconds: float) -> None:
    openai_server.script(Refuse(429, {"Retry-After": header}))
    error = failure(openai_server, whole, max_retries=0)
    assert isinstance(error, ProviderOverloaded)
    assert error.retry_after_s == seconds


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        Body("<html>", "text/html"),
        Body("{"),
        Body("null"),
        Body('{"choices": []}'),
        Body('{"choices": [{"message": {"content": 3}}]}'),
        Body("[" * 200_000),
        Body("data: " + "[" * 200_000 + "\n\n", "text/event-stream"),
        Body("data: {\n\n", "text/event-stream"),
        Body('data: {"choices": [3]}\n\n', "text/event-stream"),
        Body('data: {"choices": {"a": 1}}\n\n', "text/event-stream"),
    ],
)
def test_what_is_no_completion_is_of_no_use_and_not_asked_for_again(
    openai_server: OpenAiServer, how: Ask, body: Body
) -> None:
    openai_server.script(body)
    assert isinstance(failure(openai_server, how, max_retries=2), ProviderAnswerUnusable)
    assert len(openai_server.calls) == 1


@BOTH
@pytest.mark.parametrize("more", ["/", "?api-version=2024-10-21&x=%2F", "/chat/completions?api-version=1", "/?a=b/"])
def test_the_base_url_may_end_with_a_slash_a_query_or_the_whole_path(
    openai_server: OpenAiServer, how: Ask, more: str
) -> None:
    openai_server.script(Say(["네"]))

    async def scenario() -> str:
        async with provider_at(openai_server.url + more) as provider:
            return await how(provider)

    assert asyncio.run(scenario()) == "네"
    assert openai_server.calls[0].query == more.partition("?")[2]


@BOTH
def test_a_tls_error_in_an_open_connection_is_a_failure(
    openai_server: OpenAiServer, how: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> httpx2.Response:
        raise ssl.SSLError("bad record")

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", broken)
    assert isinstance(failure(openai_server, how, max_retries=0), ProviderFailed)


@BOTH
@pytest.mark.parametrize("content", ["", None])
def test_a_model_may_say_nothing(openai_server: OpenAiServer, how: Ask, content: str | None) -> None:
    text = {"role": "assistant", "content": content}
    answer = Body(json.dumps({"choices": [{"message": text}]}))
    chunk = json.dumps({"choices": [{"index": 0, "delta": text}]})
    stream = Body(f"data: {chunk}\n\ndata: [DONE]\n\n", "text/event-stream")
    openai_server.script(answer if how is whole else stream)
    assert ask(openai_server, how) == ""


def test_an_error_in_mid_stream_comes_after_the_pieces_before_it(openai_server: OpenAiServer) -> None:
    openai_server.script(ErrorInStream())

    async def scenario() -> None:
        async with provider_at(openai_server.url) as provider:
            stream = provider.stream(ASKED, SecretStr(KEY))
            assert await anext(stream) == "안"
            with pytest.raises(ProviderFailed):
                await anext(stream)

    asyncio.run(scenario())
    assert len(openai_server.calls) == 1


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        Refuse(401),
        Refuse(500),
        Refuse(429),
        Refuse(429, {"Retry-After": NO_YEAR}),
        Refuse(400),
        Break(),
        ErrorInStream(),
        Body("{" + KEY),
    ],
)
def test_the_key_is_in_no_message_log_or_traceback(
    openai_server: OpenAiServer, how: Ask, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    openai_server.script(answer)
    with caplog.at_level(logging.DEBUG):
        error = failure(openai_server, how, max_retries=0)
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    assert KEY not in told + str(error) + repr(error.args) + caplog.text
    assert error.__context__ is None or isinstance(error.__context__, ProviderError)
    assert error.__cause__ is None


def test_the_key_is_in_no_representation(openai_server: OpenAiServer) -> None:
    openai_server.script(Say(["네"]))

    async def scenario() -> str:
        async with provider_at(openai_server.url) as provider:
            await whole(provider)
            return repr(provider) + repr(vars(provider)) + repr(vars(provider._completions))

    assert KEY not in asyncio.run(scenario())
