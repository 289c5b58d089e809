"""Databases of the ledger: a SQLite file, and a real Redis."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.tables import Database
from tests.deployments.jobs.redis_server import RedisServer

MakeDatabase = Callable[[Path], Database]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for tests that neither stop nor change it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that a test may stop and change."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def make_database(request: pytest.FixtureRequest) -> MakeDatabase:
    """Makes an empty database, in a folder if it is a file."""
    if request.param == "sqlite":
        return lambda folder: SqliteDatabase(folder / "jobs.sqlite")
    return lambda _: empty_redis(request.getfixturevalue("redis_server"))


def empty_redis(server: RedisServer) -> Database:
    from deployments.jobs.redis_database import RedisDatabase

    with server.client() as client:
        client.flushdb()
    return RedisDatabase(server.url)
