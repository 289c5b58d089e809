"""The routes in front of scripted services, without Ray."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.settings import Settings
from pipelines.chat.pipeline import ChatPipeline
from pipelines.chat.request import ChatRequest, Reply
from pipelines.cola.pipeline import Acceptability
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity


@dataclass
class Scripted:
    """A task whose results a function gives; remembers what it was asked."""

    answer: Callable[[Any], Any]
    asked: list[Any] = field(default_factory=list)

    async def submit(self, item: Any) -> Any:
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Any]) -> list[Any]:
        self.asked += items
        return [self.answer(item) for item in items]


@dataclass
class ScriptedServices:
    settings: Settings = field(default_factory=Settings)
    sts: Scripted = field(default_factory=lambda: Scripted(lambda pair: Similarity(0.61, True, False)))
    sts_files: Scripted = field(
        default_factory=lambda: Scripted(lambda pair: Similarity(len(pair[0]) / 100, len(pair[0]) > 60, False))
    )
    cola: Scripted = field(default_factory=lambda: Scripted(lambda passage: Acceptability(0.25, False)))
    qa: Scripted = field(default_factory=lambda: Scripted(lambda request: Answer(request[1][1:3], 1, 3, 9.0, 1.0, 1)))
    chats: ChatPipeline | None = None
    deployments: dict[str, bool] = field(default_factory=lambda: {"StsEncoder": True, "Ingress": True})

    async def chat(self, request: ChatRequest) -> Reply:
        assert self.chats is not None
        return await self.chats(request)

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        assert self.chats is not None
        return self.chats.stream(request)

    async def describe(self) -> dict[str, Any]:
        return {"sts": {"kind": "bi-encoder", "threshold": 0.6}}

    async def readiness(self) -> dict[str, bool]:
        return self.deployments


@pytest.fixture
def services() -> ScriptedServices:
    return ScriptedServices()


@pytest.fixture
def client(services: ScriptedServices) -> TestClient:
    return TestClient(make_api(services), follow_redirects=False, raise_server_exceptions=False)
