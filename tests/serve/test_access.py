"""A real server with API keys, opened as with `make serve HOST=... MUNJANG_KEYS_FILE=...`."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr

from deployments.keys import Key, Scope, hash_of
from deployments.new_key import add_key
from deployments.valid_keys import FILE_VARIABLE
from tests.serve.server import Server, environment, running, write_config

pytestmark = pytest.mark.serve

PASSAGE = {"passage": "The children are playing in the garden."}


def key(scope: Scope) -> Key:
    """A key whose secret is the name of its scope."""
    return Key(name=scope, sha256=hash_of(SecretStr(scope)), scopes=frozenset({scope}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def closed(folder: Path) -> Iterator[Server]:
    """A server that is ready, which its launcher could ask only with a key of its own."""
    add_key(folder / "keys.toml", key("infer"))
    variables = environment(**{FILE_VARIABLE: str(folder / "keys.toml")})
    with running(write_config(folder), variables) as server:
        yield server


def judge(server: Server, secret: str) -> int:
    return httpx2.post(f"{server.url}/generate", json=PASSAGE, headers={"X-API-Key": secret}, timeout=60).status_code


def test_only_a_key_with_the_scope_opens_a_route(closed: Server) -> None:
    assert httpx2.get(f"{closed.url}/healthz").status_code == 200
    assert httpx2.post(f"{closed.url}/generate", json=PASSAGE).status_code == 401
    assert (judge(closed, "infer"), judge(closed, "wrong")) == (200, 401)
    for path in ("/info", "/readyz", "/docs", "/openapi.json"):
        refused = httpx2.get(f"{closed.url}{path}")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="munjang"')


def test_a_key_that_is_added_to_the_file_opens_a_running_server(closed: Server, folder: Path) -> None:
    assert httpx2.get(f"{closed.url}/info", headers={"X-API-Key": "admin"}).status_code == 401
    add_key(folder / "keys.toml", key("admin"))
    for _ in range(1000):  # each request takes milliseconds, and the file is read again after a second
        if httpx2.get(f"{closed.url}/info", headers={"X-API-Key": "admin"}, timeout=60).status_code == 200:
            return
    pytest.fail("the new key never counted")


def test_haproxy_listens_on_loopback_alone(closed: Server) -> None:
    proxies = [process for process in closed.processes() if process.name() == "haproxy"]  # two after a reload
    sockets = [one for process in proxies for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len({one.laddr.port for one in sockets}) == 3  # the server, statistics and metrics
    assert {one.laddr.ip for one in sockets} == {"127.0.0.1"}


def test_no_secret_is_in_the_output(closed: Server) -> None:
    judge(closed, "secret-5f3a")
    assert "5f3a" not in closed.output
