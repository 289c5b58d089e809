"""The routes with scripted services, without Ray."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.api.catalogue import Catalogue
from deployments.api.request_count import RequestCount
from deployments.api.services import Input, Jobs
from deployments.jobs.place import ledger_of, storage_of
from deployments.live_graph import DeploymentReport
from deployments.settings import JobSettings, Settings
from pipelines.chat.generative import GenerativeAnswers
from pipelines.chat.pipeline import ChatPipeline
from pipelines.chat.provider import Provider
from pipelines.chat.request import ChatRequest, Reply
from pipelines.chat.settings import ProviderSettings
from pipelines.chat.store.passage import Passage
from pipelines.cola.pipeline import Acceptability
from pipelines.format.manifest import Role, Task
from pipelines.format.token_ids import Token
from pipelines.qa.reading import Candidate, Findings, Reading
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, Similarity
from tests.deployments.api.chats import DOCUMENTS, chats
from tests.openai_server import OpenAiServer, running
from tests.pipelines.chat.memory_store import MemoryStore, MemoryStores
from tests.pipelines.chat.shipped import Shipped

URL = "http://localhost"  # without API keys, the app answers to names of loopback alone


@dataclass
class Scripted:
    """A task whose results come from a function. Records the items."""

    answer: Callable[[Any], Any]
    asked: list[Any] = field(default_factory=list)

    async def submit(self, item: Any) -> Any:
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Any]) -> list[Any]:
        self.asked += items
        return [self.answer(item) for item in items]

    async def submit_each(self, items: Sequence[Any]) -> list[Any]:
        return await self.submit_all(items)


def found(reading: Reading) -> Findings:
    """The second and third character, then the first."""
    text = reading.context
    candidates = (Candidate(text[1:3], 1, 3, 9.0, 0.75), Candidate(text[:1], 0, 1, 7.5, 0.125))
    return Findings(candidates, 7.0, 0.0625, True, 2, False, 11, "digest")


VECTOR = np.array([0.6, -0.8], dtype=np.float32)


def embedded(one: Input) -> Embedding:
    return Embedding(VECTOR, "digest", tokens=len(one[0]), truncated=one[0] == "too long")


def jobs_in(folder: Path, **settings: Any) -> Jobs:
    """No files and no jobs yet, in a folder."""
    chosen = JobSettings(folder=str(folder), **settings)
    return Jobs(chosen, ledger_of(chosen), storage_of(chosen))


@dataclass
class ScriptedServices:
    settings: Settings = field(default_factory=Settings)
    requests: RequestCount = field(default_factory=RequestCount)
    sts: Scripted = field(default_factory=lambda: Scripted(lambda pair: Similarity(0.61, True, False, "digest")))
    sts_files: Scripted = field(
        default_factory=lambda: Scripted(
            lambda pair: Similarity(len(pair[0]) / 100, len(pair[0]) > 60, False, "digest")
        )
    )
    cola: Scripted = field(default_factory=lambda: Scripted(lambda passage: Acceptability(0.25, False)))
    qa: Scripted = field(
        default_factory=lambda: Scripted(lambda request: Answer(request[1][1:3], 1, 3, 9.0, 1.0, 1, "digest"))
    )
    embeddings: Scripted = field(default_factory=lambda: Scripted(embedded))
    pair_lists: Scripted = field(
        default_factory=lambda: Scripted(lambda pair: Similarity(0.5, False, False, "digest", tokens=7))
    )
    passage_lists: Scripted = field(
        default_factory=lambda: Scripted(lambda passage: Acceptability(0.75, False, True, 5, "digest"))
    )
    readings: Scripted = field(default_factory=lambda: Scripted(found))
    jobs: Jobs = field(default_factory=lambda: jobs_in(Path(tempfile.mkdtemp(prefix="munjang-jobs-"))))
    chats: ChatPipeline | None = None
    deployments: dict[str, bool] = field(default_factory=lambda: {"StsEncoder": True, "Ingress": True})

    async def wake_jobs(self) -> None:
        """The tests themselves take the steps of a runner."""

    async def chat(self, request: ChatRequest) -> Reply:
        assert self.chats is not None
        return await self.chats(request)

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        assert self.chats is not None
        return self.chats.stream(request)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.describe)

    async def tokens(self, task: Task, texts: Sequence[str], role: Role, *, whole_input: bool) -> list[list[Token]]:
        own = [[Token(ord(letter), letter, False, at, at + 1) for at, letter in enumerate(text)] for text in texts]
        return [[Token(0, "<s>", True, None, None), *tokens] if whole_input else tokens for tokens in own]

    async def decode(self, task: Task, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        return ["".join(chr(33 + number % 90) for number in one) for one in ids]

    async def describe(self) -> dict[str, Any]:
        return {"sts": {"kind": "bi-encoder", "threshold": 0.6}}

    async def graph(self) -> list[DeploymentReport]:
        return [
            {"name": name, "state": "running" if ready else "missing", "running": 0, "starting": 0, "replicas": []}
            for name, ready in self.deployments.items()
        ]

    async def readiness(self) -> dict[str, bool]:
        return self.deployments


@pytest.fixture
def services() -> ScriptedServices:
    return ScriptedServices()


@pytest.fixture
def client(services: ScriptedServices) -> TestClient:
    return TestClient(make_api(services), URL, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return Shipped()


@pytest.fixture(scope="module")
def stores(shipped: Shipped) -> MemoryStores:
    vectors = [asyncio.run(shipped.embed(text)).vector for text in DOCUMENTS.values()]
    passages = [Passage(name, 0, len(text), text, 0, None, None) for name, text in DOCUMENTS.items()]
    return MemoryStores({"vector_store": MemoryStore("vector_store", shipped.digest, passages, np.stack(vectors))})


@pytest.fixture(scope="module")
def started() -> Iterator[OpenAiServer]:
    with running() as server:
        yield server


@pytest.fixture
def asking(shipped: Shipped, stores: MemoryStores, services: ScriptedServices, client: TestClient) -> TestClient:
    """A client of chats without a provider."""
    services.chats = chats(shipped, stores)
    return client


@pytest.fixture
def provider(started: OpenAiServer) -> OpenAiServer:
    started.script()
    return started


@pytest.fixture
def generating(
    shipped: Shipped, stores: MemoryStores, services: ScriptedServices, provider: OpenAiServer
) -> Iterator[TestClient]:
    settings = ProviderSettings(base_url=provider.url, model="tiny", timeout_s=1, stream_timeout_s=1, max_retries=0)
    asked = Provider(settings)
    services.chats = chats(shipped, stores, GenerativeAnswers(asked, persona="너는 윤슬기다."))
    # All requests share one event loop, because the provider's connections belong to it.
    with TestClient(make_api(services), URL, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client
        assert client.portal is not None
        client.portal.call(asked.close)
