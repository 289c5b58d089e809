import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from pipelines.chat import provider as provider_module
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
from tests.openai_server import Body, Break, Endless, Hang, OpenAiServer, Refuse, Say
from tests.pipelines.chat.asking import ASKED, BOTH, KEY, WAIT_S, Ask, ask, failure, provider_at, streamed, whole


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "FIRST_PAUSE_S", 0.001)


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
def test_each_failure_has_its_own_error_and_temporary_ones_are_retried(
    openai_server: OpenAiServer, how: Ask, answer: Any, kind: type[ProviderError], calls: int
) -> None:
    openai_server.script(answer)
    assert type(failure(openai_server, how, max_retries=2)) is kind
    assert len(openai_server.calls) == calls


@BOTH
@pytest.mark.parametrize("first", [Refuse(500), Refuse(502), Break(), Refuse(429, {"Retry-After": "0"})])
def test_a_request_that_fails_once_is_retried(openai_server: OpenAiServer, how: Ask, first: Any) -> None:
    openai_server.script(first, Say(["네", "."]))
    assert ask(openai_server, how) == "네."
    assert len(openai_server.calls) == 2


def test_a_stream_that_begins_with_an_error_is_retried(openai_server: OpenAiServer) -> None:
    error = Body('data: {"error": {"message": "busy"}}\n\n', "text/event-stream")
    openai_server.script(error, Say(["네"]))
    assert ask(openai_server, streamed) == "네"


def test_without_retries_the_first_failure_is_raised(openai_server: OpenAiServer) -> None:
    openai_server.script(Refuse(500), Say(["네"]))
    assert isinstance(failure(openai_server, whole, max_retries=0), ProviderFailed)


@BOTH
def test_a_provider_that_does_not_answer_times_out_and_is_disconnected(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Hang())
    assert isinstance(failure(openai_server, how, timeout_s=0.2), ProviderTimedOut)
    assert len(openai_server.calls) == 1
    openai_server.hung_up.get(timeout=WAIT_S)


def test_a_stream_that_stops_midway_times_out(openai_server: OpenAiServer) -> None:
    openai_server.script(Hang(["안", "녕"]))
    assert isinstance(failure(openai_server, streamed, timeout_s=0.2), ProviderTimedOut)
    openai_server.hung_up.get(timeout=WAIT_S)


def test_an_endless_stream_times_out(openai_server: OpenAiServer) -> None:
    openai_server.script(Endless())
    assert isinstance(failure(openai_server, streamed, stream_timeout_s=0.3), ProviderTimedOut)
    openai_server.hung_up.get(timeout=WAIT_S)


@BOTH
def test_unusable_answers_do_not_open_the_circuit(openai_server: OpenAiServer, how: Ask) -> None:
    openai_server.script(Body("{"), Body("[" * 200_000), Say(["네"]))

    async def scenario() -> str:
        async with provider_at(openai_server.url, failures_to_open=1) as provider:
            for _ in range(2):
                with pytest.raises(ProviderAnswerUnusable):
                    await how(provider)
            return await how(provider)

    assert asyncio.run(scenario()) == "네"


def test_an_unreachable_provider_is_a_failure() -> None:
    unreachable = OpenAiServer("http://127.0.0.1:1/v1")
    assert isinstance(failure(unreachable, whole), ProviderFailed)


@BOTH
def test_a_cancelled_request_closes_the_connection_to_the_provider(openai_server: OpenAiServer, how: Ask) -> None:
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


def test_closing_a_stream_closes_the_connection_to_the_provider(openai_server: OpenAiServer) -> None:
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
def test_a_provider_that_keeps_failing_gets_no_requests_for_a_while(
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
