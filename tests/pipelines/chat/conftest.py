"""What the chat's tests share."""

from collections.abc import Iterator

import pytest

from tests.openai_server import OpenAiServer, running


@pytest.fixture
def anyio_backend() -> str:
    """What `pytest.mark.anyio` runs a coroutine on."""
    return "asyncio"


@pytest.fixture(scope="package")
def started() -> Iterator[OpenAiServer]:
    with running() as server:
        yield server


@pytest.fixture
def openai_server(started: OpenAiServer) -> OpenAiServer:
    """A provider that no answers are scripted for yet."""
    started.script()
    return started
