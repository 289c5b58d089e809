import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from pydantic import SecretStr

from pipelines.chat.generative import GenerativeAnswers
from pipelines.chat.pipeline import ChatPipeline
from pipelines.chat.provider import Provider
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply
from pipelines.chat.settings import ProviderSettings
from pipelines.chat.store.passage import Passage
from pipelines.errors import ProviderKeyRefused, StoreMismatch, StoreNotFound
from pipelines.sts.pipeline import Embedding
from tests.openai_server import Hang, OpenAiServer, Refuse, Say
from tests.pipelines.chat.memory_store import MemoryStore, MemoryStores

TEXTS = ["부산에서 태어났다.", "주말마다 산에 오른다.", "형제는 없다."]
PASSAGES = [Passage("a.md", 10 * i, 10 * i + len(text), text, 0, None, None) for i, text in enumerate(TEXTS)]
STORE = MemoryStore("vector_store", "digest", PASSAGES, np.eye(3, dtype=np.float32))
STORES = MemoryStores({"vector_store": STORE})
ASKED = ChatRequest("어디에서 태어났어?", "vector_store/", SecretStr("sk-1"))


class RepeatPassages:
    """Answers with the texts of the passages found."""

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        found = tuple(Citation.of(grounds.store, passage) for passage in grounds.passages)
        return Reply(" ".join(passage.text for passage in grounds.passages), found)

    async def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        for passage in grounds.passages:
            yield passage.text
        yield await self.reply(request, grounds)


def embedding(*vector: float, checkpoint: str = "digest") -> Embedding:
    return Embedding(np.array(vector, dtype=np.float32), checkpoint)


def pipeline(embedded: Embedding | None, passages: int = 2) -> ChatPipeline:
    async def embed(text: str) -> Embedding | None:
        assert text == ASKED.prompt
        return embedded

    return ChatPipeline(STORES, embed, RepeatPassages(), passages=passages)


async def collect(chat: ChatPipeline, request: ChatRequest = ASKED) -> list[str | Reply]:
    return [piece async for piece in chat.stream(request)]


def test_the_answer_is_made_from_the_passages_nearest_to_the_question() -> None:
    chat = pipeline(embedding(0.0, 0.6, 0.8))
    reply = asyncio.run(chat(ASKED))
    assert reply.output == "형제는 없다. 주말마다 산에 오른다."
    assert [(found.document, found.start, found.end) for found in reply.citations] == [
        ("a.md", 20, 27),
        ("a.md", 10, 22),
    ]
    assert reply.citations[0].similarity == pytest.approx(0.8)
    assert asyncio.run(collect(chat)) == ["형제는 없다.", "주말마다 산에 오른다.", reply]


def test_without_an_embedding_passages_are_found_by_words_alone() -> None:
    reply = asyncio.run(pipeline(None)(ASKED))
    assert reply.output == "부산에서 태어났다."
    assert reply.citations[0].similarity is None
    assert reply.citations[0].lexical is not None


def test_a_store_of_another_checkpoint_is_searched_by_words_alone_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chat = pipeline(embedding(0, 0, 1, checkpoint="other"))
    replies = [asyncio.run(chat(ASKED)) for _ in range(2)]
    assert [reply.output for reply in replies] == ["부산에서 태어났다."] * 2
    assert replies[0].citations[0].similarity is None
    (warning,) = caplog.messages
    assert str(StoreMismatch("vector_store", "digest", "other")) in warning
    assert ASKED.prompt not in warning


def test_a_missing_store_is_an_error_before_anything_is_embedded() -> None:
    elsewhere = ChatRequest("다른 질문", "../etc", SecretStr("sk"))
    with pytest.raises(StoreNotFound):
        asyncio.run(pipeline(None)(elsewhere))
    with pytest.raises(StoreNotFound):
        asyncio.run(collect(pipeline(None), elsewhere))


@asynccontextmanager
async def generative(server: OpenAiServer) -> AsyncIterator[ChatPipeline]:
    async def embed(text: str) -> Embedding:
        return embedding(1, 0, 0)

    provider = Provider(ProviderSettings(base_url=server.url, model="tiny"))
    try:
        yield ChatPipeline(STORES, embed, GenerativeAnswers(provider, persona="너는 한결이다."), passages=1)
    finally:
        await provider.close()


def test_a_language_model_is_shown_the_persona_and_the_passages_found(openai_server: OpenAiServer) -> None:
    async def scenario() -> None:
        async with generative(openai_server) as chat:
            reply = await chat(ASKED)
            assert reply == Reply("부산이야.", (Citation("vector_store", "a.md", 0, 10, 1.0, 1.0, None),))
            assert await collect(chat) == ["부산", "이야.", reply]

    openai_server.script(Say(["부산", "이야."]))
    asyncio.run(scenario())
    for call in openai_server.calls:
        system, user = call.body["messages"]
        assert system["content"].startswith("너는 한결이다.")
        assert "부산에서 태어났다." in user["content"]
        assert "주말마다" not in user["content"]
        assert call.authorization == "Bearer sk-1"


def test_a_key_that_the_provider_refuses_is_an_error_for_the_caller(openai_server: OpenAiServer) -> None:
    async def scenario() -> None:
        async with generative(openai_server) as chat:
            with pytest.raises(ProviderKeyRefused):
                await chat(ASKED)

    openai_server.script(Refuse(401))
    asyncio.run(scenario())


def test_closing_a_stream_closes_the_connection_to_the_provider(openai_server: OpenAiServer) -> None:
    async def scenario() -> None:
        async with generative(openai_server) as chat:
            stream = chat.stream(ASKED)
            assert await anext(stream) == "부산"
            await stream.aclose()
            await asyncio.to_thread(openai_server.hung_up.get, timeout=10)

    openai_server.script(Hang(["부산"]))
    asyncio.run(scenario())
