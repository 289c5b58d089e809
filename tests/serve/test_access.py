"""A real server with API keys, HTTPS and logs in JSON, whose variables name a file of keys and a certificate."""

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
import trustme
import yaml
from pydantic import SecretStr

from deployments.keys import Key, Scope, hash_of
from deployments.new_key import add_key
from deployments.tls import TLS_VARIABLE
from deployments.valid_keys import FILE_VARIABLE
from tests.deployments.certificates import write_certificate
from tests.serve.server import Server, environment, running, write_config

pytestmark = pytest.mark.serve

PASSAGE = {"passage": "The children are playing in the garden."}
UNBUFFERED = {"RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1"}  # or replicas would write when they have 1,000 lines


def key(scope: Scope) -> Key:
    """A key whose secret is the name of its scope."""
    return Key(name=scope, sha256=hash_of(SecretStr(scope)), scopes=frozenset({scope}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def closed(folder: Path) -> Iterator[Server]:
    """A server that is ready, which its launcher could ask only by HTTPS and with a key of its own."""
    add_key(folder / "keys.toml", key("infer"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate = write_certificate(folder / "server.pem", "127.0.0.1", authority)
    variables = {FILE_VARIABLE: str(folder / "keys.toml"), TLS_VARIABLE: str(certificate)}
    with running(logging_in_json(write_config(folder)), environment(**variables, **UNBUFFERED)) as server:
        yield server


def logging_in_json(config: Path) -> Path:
    content = yaml.safe_load(config.read_text())
    content["logging_config"] = {"encoding": "JSON", "enable_access_log": True}
    config.write_text(yaml.safe_dump(content))
    return config


@pytest.fixture(scope="module")
def client(closed: Server, folder: Path) -> Iterator[httpx2.Client]:
    """A client that trusts the authority of the certificate, and checks the address in it."""
    trusted = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    with httpx2.Client(base_url=closed.url, verify=trusted, timeout=60) as client:
        yield client


def judge(client: httpx2.Client, secret: str) -> int:
    return client.post("/generate", json=PASSAGE, headers={"X-API-Key": secret}).status_code


def test_only_a_key_with_the_scope_opens_a_route(client: httpx2.Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.post("/generate", json=PASSAGE).status_code == 401
    assert (judge(client, "infer"), judge(client, "wrong")) == (200, 401)
    for path in ("/info", "/readyz", "/docs", "/openapi.json"):
        refused = client.get(path)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="munjang"')


@pytest.mark.parametrize(("offered", "chosen"), [("http/1.1", "http/1.1"), ("h2", "h2")])
def test_clients_choose_between_http_1_and_http_2(closed: Server, folder: Path, offered: str, chosen: str) -> None:
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    context.set_alpn_protocols([offered])
    port = int(closed.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as encrypted,
    ):
        assert encrypted.selected_alpn_protocol() == chosen


def test_plain_http_gets_no_answer(closed: Server) -> None:
    with pytest.raises(httpx2.TransportError):
        httpx2.get(closed.url.replace("https:", "http:") + "/healthz", timeout=60)


def test_a_key_that_is_added_to_the_file_opens_a_running_server(client: httpx2.Client, folder: Path) -> None:
    assert client.get("/info", headers={"X-API-Key": "admin"}).status_code == 401
    add_key(folder / "keys.toml", key("admin"))
    for _ in range(1000):  # each request takes milliseconds, and the file is read again after a second
        if client.get("/info", headers={"X-API-Key": "admin"}).status_code == 200:
            return
    pytest.fail("the new key never counted")


def test_haproxy_listens_on_loopback_alone(closed: Server) -> None:
    proxies = [process for process in closed.processes() if process.name() == "haproxy"]  # two after a reload
    sockets = [one for process in proxies for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len({one.laddr.port for one in sockets}) == 3  # the server, statistics and metrics
    assert {one.laddr.ip for one in sockets} == {"127.0.0.1"}


def test_no_secret_is_in_the_output(closed: Server, client: httpx2.Client) -> None:
    judge(client, "a-secret-canary")
    assert "secret-canary" not in closed.output


def test_the_log_is_json_with_the_id_of_each_request_and_without_its_words(
    closed: Server, client: httpx2.Client
) -> None:
    request_id, canary = "an-id-of-the-caller", "canary31c8"
    headers = {"X-API-Key": "infer", "X-Request-ID": request_id}
    assert client.post(f"/generate?{canary}", json={"passage": f"The {canary} sings."}, headers=headers).is_success
    assert client.request("PUT", f"/{canary}", headers=headers).status_code == 403
    files = {name: text for name, text in closed.logs().items() if Path(name).name.startswith("replica_munjang_")}
    assert len(files) >= 8
    records = [json.loads(line) for text in files.values() for line in text.splitlines()]
    assert not [record for record in records if canary in json.dumps(record)]
    mine = [record for record in records if record.get("request_id") == request_id]
    places = [(record["deployment"], record["route"]) for record in mine]
    assert places == [("munjang_Ingress", "/generate"), ("munjang_Ingress", "/")]
    assert {"levelname", "asctime", "message", "replica"} <= set(mine[0])
