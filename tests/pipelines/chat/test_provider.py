import asyncio
import gzip
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from pipelines.chat import provider as provider_module
from pipelines.chat.prompt import Message
from pipelines.chat.provider import Provider
from pipelines.chat.settings import ProviderSettings
from pipelines.errors import (
    ProviderAnswerUnusable,
    ProviderError,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderSuspended,
    ProviderTimedOut,
)
from tests.openai_server import Body, Break, Endless, ErrorInStream, Hang, OpenAiServer, Refuse, Say

KEY = "sk-canary-7b1f"
ASKED: list[Message] = [{"role": "user", "content": "누구세요?"}]
WAIT_S = 10
NO_YEAR = "Wed, 21 Oct 99999999999 07:28:00 GMT"

Ask = Callable[[Provider], Coroutine[Any, Any, str]]


@asynccontextmanager
async def provider_at(url: str, **settings: Any) -> AsyncIterator[Provider]:
    provider = Provider(ProviderSettings.model_validate({"base_url": url, "model": "tiny", **settings}))
    try:
        yield provider
    finally:
        await provider.close()


async def whole(provider: Provider) -> str:
    return await provider.complete(ASKED, SecretStr(KEY))


async def streamed(provider: Provider) -> str:
    return "".join([piece async for piece in provider.stream(ASKED, SecretStr(KEY))])


def ask(server: OpenAiServer, how: Ask, **settings: Any) -> str:
    async def scenario() -> str:
        async with provider_at(server.url, **settings) as provider:
            return await how(provider)

    return asyncio.run(scenario())


def failure(server: OpenAiServer, how: Ask, **settings: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        ask(server, how, **settings)
    return raised.value


BOTH = pytest.mark.parametrize("how", [whole, streamed])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "FIRST_PAUSE_S", 0.001)


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


@BOTH
@pytest.mark.parametrize(
    ("answer", "kind", "calls"),
    [
        (Refuse(401), ProviderKeyRefused, 1),
        (Refuse(403), ProviderKeyRefused, 1),
        (Refuse(404), ProviderRejected, 1),
        (Refuse(307, {"Location": "http://127.0.0.1:9/"}), ProviderRejected, 1),
        (Refuse(429, {"Retry-After": "30"}), ProviderOverloaded, 1),
        (Refuse(500), ProviderFailed, 3),
        (Refuse(503), ProviderFailed, 3),
        (Break(), ProviderFailed, 3),
    ],
)
def test_a_failure_is_of_its_own_kind_and_repeated_where_it_may_pass(
    openai_server: OpenAiServer, how: Ask, answer: Any, kind: type[ProviderError], calls: int
) -> None:
    openai_server.script(answer)
    assert type(failure(openai_server, how, max_retries=2)) is kind
    assert len(openai_server.calls) == calls


@BOTH
@pytest.mark.parametrize("first", [Refuse(500), Refuse(502), Break(), Refuse(429, {"Retry-After": "0"})])
def test_what_fails_once_is_asked_again(openai_server: OpenAiServer, how: Ask, first: Any) -> None:
    openai_server.script(first, Say(["네", "."]))
    assert ask(openai_server, how) == "네."
    assert len(openai_server.calls) == 2


def test_nothing_is_repeated_where_the_operator_says_so(openai_server: OpenAiServer) -> None:
    openai_server.script(Refuse(500), Say(["네"]))
    assert isinstance(failure(openai_server, whole, max_retries=0), ProviderFailed)


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
def test_a_provider_that_hangs_is_left_in_time_and_hung_up_on(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Hang())
    assert isinstance(failure(openai_server, how, timeout_s=0.2), ProviderTimedOut)
    assert len(openai_server.calls) == 1
    openai_server.hung_up.get(timeout=WAIT_S)


def test_a_stream_that_falls_silent_is_left(openai_server: OpenAiServer) -> None:
    openai_server.script(Hang(["안", "녕"]))
    assert isinstance(failure(openai_server, streamed, timeout_s=0.2), ProviderTimedOut)
    openai_server.hung_up.get(timeout=WAIT_S)


def test_a_stream_without_end_ends_with_its_time(openai_server: OpenAiServer) -> None:
    openai_server.script(Endless())
    assert isinstance(failure(openai_server, streamed, stream_timeout_s=0.3), ProviderTimedOut)
    openai_server.hung_up.get(timeout=WAIT_S)


@BOTH
def test_an_answer_over_its_limit_is_refused(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Say(["가" * 400]) if how is whole else Endless())
    error = failure(openai_server, how, max_answer_bytes=1000)
    assert str(error) == "the language-model provider gave an answer of no use: it is longer than this server takes"
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
@pytest.mark.parametrize("content", ["", None])
def test_a_model_may_say_nothing(openai_server: OpenAiServer, how: Ask, content: str | None) -> None:
    text = {"role": "assistant", "content": content}
    answer = Body(json.dumps({"choices": [{"message": text}]}))
    chunk = json.dumps({"choices": [{"index": 0, "delta": text}]})
    stream = Body(f"data: {chunk}\n\ndata: [DONE]\n\n", "text/event-stream")
    openai_server.script(answer if how is whole else stream)
    assert ask(openai_server, how) == ""


@BOTH
def test_what_one_callers_answer_is_like_closes_the_provider_to_nobody(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Body("{"), Body("[" * 200_000), Say(["네"]))

    async def scenario() -> str:
        async with provider_at(openai_server.url, failures_to_open=1) as provider:
            for _ in range(2):
                with pytest.raises(ProviderAnswerUnusable):
                    await how(provider)
            return await how(provider)

    assert asyncio.run(scenario()) == "네"


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


def test_a_provider_that_is_not_there_is_a_failure() -> None:
    nobody = OpenAiServer("http://127.0.0.1:1/v1")
    assert isinstance(failure(nobody, whole), ProviderFailed)


@BOTH
def test_a_caller_that_leaves_hangs_up_on_the_provider(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Hang())

    async def scenario() -> None:
        async with provider_at(openai_server.url) as provider:
            task = asyncio.create_task(how(provider))
            await asyncio.to_thread(openai_server.hanging.get, timeout=WAIT_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(openai_server.hung_up.get, timeout=WAIT_S)

    asyncio.run(scenario())


def test_closing_a_stream_hangs_up_on_the_provider(openai_server: OpenAiServer) -> None:
    openai_server.script(Endless())

    async def scenario() -> None:
        async with provider_at(openai_server.url) as provider:
            stream = provider.stream(ASKED, SecretStr(KEY))
            assert await anext(stream) == "그리고 "
            await stream.aclose()
            await asyncio.to_thread(openai_server.hung_up.get, timeout=WAIT_S)

    asyncio.run(scenario())


@BOTH
@pytest.mark.parametrize("open_s", [60.0, 1e-9])
def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(
    openai_server: OpenAiServer, how: Ask, open_s: float
) -> None:
    openai_server.script(Refuse(500), Refuse(500), Say(["네"]))

    async def scenario() -> None:
        async with provider_at(openai_server.url, max_retries=0, failures_to_open=2, open_s=open_s) as provider:
            for _ in range(2):
                with pytest.raises(ProviderFailed):
                    await how(provider)
            if open_s > 1:
                with pytest.raises(ProviderSuspended):
                    await how(provider)
                assert len(openai_server.calls) == 2
            else:
                assert await how(provider) == "네"

    asyncio.run(scenario())


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


@pytest.mark.parametrize("url", ["", "ftp://a/v1", "file:///etc", "https://user:pass@host/v1", "host/v1"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        ProviderSettings(base_url=url, model="tiny")
