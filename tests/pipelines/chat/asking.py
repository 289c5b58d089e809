"""Ask a provider for a whole answer or for a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from pipelines.chat.prompt import Message
from pipelines.chat.provider import Provider
from pipelines.chat.settings import ProviderSettings
from pipelines.errors import ProviderError
from tests.openai_server import OpenAiServer

KEY = "sk-canary-7b1f"
ASKED: list[Message] = [{"role": "user", "content": "누구세요?"}]
WAIT_S = 10

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
