import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from deployments.batching.queue import Priority
from deployments.persona_chat import PersonaChat, warn_once_without_embedding
from deployments.settings import ChatSettings, Settings, StsSettings
from pipelines.chat.embedding import Embedder
from pipelines.chat.request import ChatRequest, Reply
from pipelines.chat.sample import PERSONA, SAMPLE_STORE
from pipelines.chat.store.build import build
from pipelines.chat.store.documents import read_documents
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.resolve import ROOT
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Outcome
from pipelines.errors import ProviderKeyRefused, ProviderRejected, StoreNotFound
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.sts.pipeline import Embedding
from pipelines.text.token_batch import TokenBatch
from tests.openai_server import Hang, Refuse, Say, running

CHECKPOINTS = ROOT / "checkpoints"
KEY = "sk-canary-03d5"
WAIT_S = 10


class Handle:
    """A deployment handle whose only method runs in this process. Keeps the arguments of its calls."""

    deployment_name = "InProcess"

    def __init__(self, method: str, function: Callable[..., Any]) -> None:
        self.calls_with: list[tuple[Any, ...]] = []
        self._function = function
        setattr(self, method, self)

    async def remote(self, *args: Any) -> Any:
        self.calls_with.append(args)
        return self._function(*args)

    @property
    def calls(self) -> int:
        return len(self.calls_with)


def handles(task: Any) -> tuple[Handle, Handle]:
    """The shipped tokenizer and model of a task."""
    folder = CHECKPOINTS / task
    manifest = read_manifest(folder)
    model = load_model(folder, manifest, EngineSettings())

    def run(batch: TokenBatch, priority: Priority) -> Outcome:
        assert priority is Priority.INTERACTIVE
        return Outcome(model.run(batch))

    if task == "qa":
        windows = WindowTokenizer.load(folder, manifest).windows
        return Handle("windows", windows), Handle("run", run)
    return Handle("passages", TextTokenizer.load(folder, manifest).passages), Handle("run", run)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    build(read_documents(PERSONA), root / SAMPLE_STORE, Embedder.load(CHECKPOINTS / "sts"))
    return root


def persona_chat(stores: Path, sts: Any, qa: Any, **chat: Any) -> Any:
    settings = Settings(chat=ChatSettings(stores=str(stores), **chat))
    return PersonaChat.func_or_class(settings, sts=sts, qa=qa)


def asked(prompt: str, db_path: str = "vector_store/") -> ChatRequest:
    return ChatRequest(prompt, db_path, SecretStr(KEY))


@pytest.mark.slow
def test_an_answer_embeds_its_question_then_all_sentences_in_one_call_and_reads_them_in_one(stores: Path) -> None:
    sts, qa = handles("sts"), handles("qa")

    async def scenario() -> Reply:
        reply: Reply = await persona_chat(stores, sts, qa).reply(asked("생일이 언제예요?"))
        return reply

    reply = asyncio.run(scenario())
    (cited,) = reply.citations
    assert (PERSONA / cited.document).read_text(encoding="utf-8")[cited.start : cited.end] == reply.output
    assert [handle.calls for handle in (*sts, *qa)] == [2, 2, 1, 1]
    assert sts[0].calls_with[0] == (["생일이 언제예요?"], "query")
    sentences, role = sts[0].calls_with[1]
    assert len(sentences) > 1
    assert role == "document"


@pytest.mark.slow
def test_chats_at_the_same_time_share_calls(stores: Path) -> None:
    sts, qa = handles("sts"), handles("qa")

    async def scenario() -> None:
        chat = persona_chat(stores, sts, qa)
        replies = await asyncio.gather(*(chat.reply(asked(f"{n}번째 생일이 언제예요?")) for n in range(10)))
        assert len(replies) == 10

    asyncio.run(scenario())
    assert all(handle.calls < 20 for handle in sts)  # two calls each without sharing
    assert all(handle.calls < 10 for handle in qa)


def test_errors_are_returned_and_neither_raised_nor_logged(stores: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[Any]:
        chat = persona_chat(stores, handles("sts"), handles("qa"))
        elsewhere = asked("?", "../vector_store")
        return [await chat.reply(elsewhere), *[piece async for piece in chat.stream(elsewhere)]]

    assert [type(error) for error in asyncio.run(scenario())] == [StoreNotFound, StoreNotFound]
    assert caplog.text == ""


def test_errors_that_the_operator_can_fix_are_logged(stores: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(url: str) -> list[Any]:
        chat = persona_chat(stores, handles("sts"), handles("qa"), provider={"base_url": url, "model": "tiny"})
        answers = [await chat.reply(asked("?")), *[piece async for piece in chat.stream(asked("?"))]]
        await chat._pipeline._answers._provider.close()
        return answers

    with running() as provider:
        provider.script(Refuse(404), Refuse(401))
        first, second = asyncio.run(scenario(provider.url))
    assert (type(first), type(second)) == (ProviderRejected, ProviderKeyRefused)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [f"a chat failed: {first}"]
    assert KEY not in caplog.text


def test_with_a_provider_its_model_answers_and_the_extractor_is_not_called(stores: Path) -> None:
    qa = handles("qa")

    async def scenario(url: str) -> None:
        chat = persona_chat(stores, handles("sts"), qa, provider={"base_url": url, "model": "tiny"}, persona="하늘")
        assert chat.info() == {"kind": "generative", "model": "tiny"}
        assert (await chat.reply(asked("생일이 언제예요?"))).output == "네."
        *pieces, whole = [piece async for piece in chat.stream(asked("생일이 언제예요?"))]
        assert (pieces, whole.output, len(whole.citations)) == (["네", "."], "네.", 5)
        await chat._pipeline._answers._provider.close()

    with running() as provider:
        provider.script(Say(["네", "."]))
        asyncio.run(scenario(provider.url))
        assert provider.calls[0].body["messages"][0]["content"].startswith("하늘")
    assert [handle.calls for handle in qa] == [0, 0]


def test_closing_a_stream_closes_the_connection_to_the_provider(stores: Path) -> None:
    async def scenario(url: str) -> None:
        chat = persona_chat(stores, handles("sts"), handles("qa"), provider={"base_url": url, "model": "tiny"})
        stream = chat.stream(asked("생일이 언제예요?"))
        assert await anext(stream) == "네"
        await stream.aclose()
        await asyncio.to_thread(provider.hung_up.get, timeout=WAIT_S)
        await chat._pipeline._answers._provider.close()

    with running() as provider:
        provider.script(Hang(["네"]))
        asyncio.run(scenario(provider.url))


def test_without_a_provider_info_reports_extractive_answers(stores: Path) -> None:
    async def scenario() -> dict[str, Any]:
        info: dict[str, Any] = persona_chat(stores, handles("sts"), handles("qa")).info()
        return info

    assert asyncio.run(scenario()) == {"kind": "extractive", "model": None}


@pytest.mark.parametrize(("embedding", "warnings"), [(None, 1), (Embedding(np.ones(2, np.float32), "a"), 0)])
def test_missing_embeddings_are_logged_once(
    embedding: Embedding | None, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def embed(text: str) -> Embedding | None:
        return embedding

    async def scenario() -> None:
        embed_and_warn = warn_once_without_embedding(embed)
        assert [await embed_and_warn(text) for text in "가나다"] == [embedding] * 3

    with caplog.at_level(logging.WARNING, "ray.serve"):
        asyncio.run(scenario())
    assert caplog.text.count("by words alone") == warnings


def test_a_replica_starts_without_the_checkpoints_of_other_deployments(stores: Path) -> None:
    settings = Settings(sts=StsSettings(checkpoint="nobody/nothing"), chat=ChatSettings(stores=str(stores)))
    chat = PersonaChat.func_or_class(settings, sts=handles("sts"), qa=handles("qa"))
    assert chat.info() == {"kind": "extractive", "model": None}
