"""Requests as bytes over a socket: what a client library would not send."""

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

WAIT_S = 20.0


@dataclass(frozen=True)
class Answer:
    """An answer as it arrived. `closed`: the server has closed the connection after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    def problem(self) -> dict[str, Any]:
        """The body, which must be a problem (RFC 9457), or on the routes of other servers an error in their shape."""
        if self.headers["content-type"] == "application/json":
            error = json.loads(self.body)["error"]
            assert error["message"] if isinstance(error, dict) else error
            return {"instance": self.headers["x-request-id"], "errors": [error]}
        assert self.headers["content-type"] == "application/problem+json", self
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"", *, length: int | None = None) -> bytes:
    """A request as bytes. `length` is the Content-Length where it is not that of the body; negative: no such header."""
    size = len(body) if length is None else length
    named = {"Host": "localhost"} | ({"Content-Length": str(size)} if size >= 0 else {}) | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A body in chunks (RFC 9112, section 7.1), without the last one."""
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)


def exchange(url: str, sent: bytes, *, expect_close: bool = False) -> Answer:
    """Send bytes and read one answer. With `expect_close`, wait until the server has closed the connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=WAIT_S) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the whole body was sent
            connection.sendall(sent)
        return _read_answer(connection, expect_close=expect_close)


def _read_answer(connection: socket.socket, *, expect_close: bool) -> Answer:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _receive(connection)
    closed = expect_close and connection.recv(1) == b""
    return Answer(int(first.split()[1]), headers, body, closed)


def _receive(connection: socket.socket) -> bytes:
    piece = connection.recv(65_536)
    assert piece, "the server closed the connection without a whole answer"
    return piece
