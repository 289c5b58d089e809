"""Fixtures that the tests of the chat share."""

from collections.abc import Iterator

import pytest

from tests.openai_server import OpenAiServer, running


@pytest.fixture
def anyio_backend() -> str:
    """The event loop on which `pytest.mark.anyio` runs coroutines."""
    return "asyncio"


@pytest.fixture(scope="package")
def started() -> Iterator[OpenAiServer]:
    with running() as server:
        yield server


@pytest.fixture
def openai_server(started: OpenAiServer) -> OpenAiServer:
    """A provider without scripted answers."""
    started.script()
    return started
