import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from deployments.ready_probe import ReadyProbe, local_address
from deployments.tls import trusting
from tests.deployments.certificates import write_certificate


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("0.0.0.0", "127.0.0.1:80"),
        ("::", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("192.168.1.5", "192.168.1.5:80"),
        ("localhost", "localhost:80"),
    ],
)
def test_the_probe_asks_at_an_address_on_which_the_server_listens(host: str, address: str) -> None:
    assert local_address(host, 80) == address
    assert ReadyProbe.of(host, 80, None, None).url == f"http://{address}"
    assert ReadyProbe.of(host, 80, None, ssl.create_default_context()).url == f"https://{address}"


class Ready(BaseHTTPRequestHandler):
    """Answers 200, and keeps the keys that it was shown."""

    shown: list[str | None]

    def do_GET(self) -> None:
        self.shown.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def ready_server(certificate: Path | None = None) -> Iterator[tuple[int, list[str | None]]]:
    """Yield the port of a server that is ready, and the keys that it was shown."""
    Ready.shown = []
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        answering = Thread(target=server.serve_forever)
        answering.start()
        yield server.server_port, Ready.shown
        server.shutdown()
        answering.join()


@pytest.mark.parametrize("key", [None, SecretStr("secret")])
def test_the_probe_shows_its_key(key: SecretStr | None) -> None:
    with ready_server() as (port, shown):
        assert ReadyProbe.of("127.0.0.1", port, key, None).is_ready()
    assert shown == [f"Bearer {key.get_secret_value()}" if key else None]


def test_the_probe_trusts_the_certificate_of_the_server_alone(tmp_path: Path) -> None:
    """The certificate names another host, and its issuer is not in the file."""
    own = write_certificate(tmp_path / "own.pem", "munjang.example")
    other = write_certificate(tmp_path / "other.pem", "munjang.example")
    with ready_server(own) as (port, shown):
        key = SecretStr("secret")
        assert not ReadyProbe.of("127.0.0.1", port, key, trusting(other)).is_ready()
        assert shown == []
        assert ReadyProbe.of("127.0.0.1", port, key, trusting(own)).is_ready()
    assert shown == ["Bearer secret"]


def test_a_server_that_is_not_there_is_not_ready() -> None:
    with ready_server() as (port, _):
        pass
    assert not ReadyProbe.of("127.0.0.1", port, None, None).is_ready()
