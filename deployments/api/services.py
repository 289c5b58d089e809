"""What routes ask of the ingress."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Request

from deployments.settings import Settings
from pipelines.chat.request import ChatRequest, Reply
from pipelines.cola.pipeline import Acceptability
from pipelines.errors import DeadlineExceeded
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Submits(Protocol[Item, Result]):
    """A group commit of one task."""

    async def submit(self, item: Item) -> Result:
        """The item's result; raises its own error."""

    async def submit_all(self, items: Sequence[Item]) -> Sequence[Result]:
        """Results in the items' order; raises the first error."""


class Services(Protocol):
    """The ingress, as routes see it."""

    settings: Settings
    sts: Submits[tuple[str, str], Similarity]
    sts_files: Submits[tuple[str, str], Similarity]
    cola: Submits[str, Acceptability]
    qa: Submits[tuple[str, str], Answer]

    async def chat(self, request: ChatRequest) -> Reply:
        """A whole answer; raises its own error."""

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """An answer in pieces, at least one, then whole; raises its own error."""

    async def describe(self) -> dict[str, Any]:
        """By task: checkpoint, scores, limits, engine, versions."""

    async def readiness(self) -> dict[str, bool]:
        """By deployment: has it a running replica?"""


async def services_of(request: Request) -> Services:
    """The ingress that this app belongs to. Async, or FastAPI would call it on a thread for each request."""
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded, and withdraws the work inside, after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(seconds) from error
