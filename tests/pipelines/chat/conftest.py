"""A scripted provider for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.openai_server import OpenAiServer, running


@pytest.fixture(scope="package")
def started() -> Iterator[OpenAiServer]:
    with running() as server:
        yield server


@pytest.fixture
def openai_server(started: OpenAiServer) -> OpenAiServer:
    started.script()
    return started
