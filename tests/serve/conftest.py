"""One server on the shipped checkpoints for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.otlp import Collector, collecting, has_exporter
from tests.serve.server import Server, environment, running, write_config
from tests.web.conftest import browser, web

__all__ = ["browser", "client", "collector", "server", "stores", "web"]


@pytest.fixture(scope="package")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the stores. The first server that starts builds the sample store there."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Gets the spans of requests whose callers ask for it by their `traceparent`."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, stores: Path, collector: Collector) -> Iterator[Server]:
    tracing = {"endpoint": collector.url, "sampling_ratio": 0.0} if has_exporter() else None
    config = write_config(tmp_path_factory.mktemp("serve"), chat={"stores": str(stores)}, tracing=tracing)
    with running(config, environment()) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60, follow_redirects=False) as client:
        yield client
