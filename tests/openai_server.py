"""A local server of OpenAI's chat-completions protocol that gives the answers a test has scripted."""

import asyncio
import json
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn

PATH = "/v1/chat/completions"
ENDLESS_PAUSE_S = 0.005


@dataclass
class Call:
    """One request, and methods to answer it."""

    authorization: str
    headers: dict[str, str]
    body: dict[str, Any]
    query: str
    receive: Any
    send: Any

    async def start(self, status: int, headers: dict[str, str]) -> None:
        fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})

    async def write(self, content: bytes, *, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": content, "more_body": more})

    async def write_piece(self, piece: str) -> None:
        choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
        await self.write(sse({"id": "c", "object": "chat.completion.chunk", "created": 0, "choices": [choice]}))

    async def gone(self) -> None:
        """Wait until the client disconnects."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Answer(Protocol):
    """A scripted answer to one request."""

    async def give(self, call: Call, server: "OpenAiServer") -> None: ...


@dataclass
class Say:
    """An answer, streamed in pieces or sent at once, as the client requests."""

    pieces: Sequence[str]

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        if not call.body.get("stream"):
            message = {"role": "assistant", "content": "".join(self.pieces)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await Body(json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]})).give(call, server)
            return
        await call.start(200, {"Content-Type": "text/event-stream"})
        for piece in self.pieces:
            await call.write_piece(piece)
        await call.write(sse({"id": "c", "object": "chat.completion.chunk", "choices": []}))  # as with usage
        await call.write(b"data: [DONE]\n\n", more=False)


@dataclass
class Body:
    """An answer with any body."""

    content: str | bytes
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        await call.start(200, {"Content-Type": self.kind, **self.headers})
        await call.write(self.content if isinstance(self.content, bytes) else self.content.encode(), more=False)


@dataclass
class Refuse:
    """An error that repeats the API key, as real providers do."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        error = {"message": f"Incorrect API key provided: {call.authorization}", "type": "error", "code": None}
        await call.start(self.status, {"Content-Type": "application/json", **self.headers})
        await call.write(json.dumps({"error": error}).encode(), more=False)


@dataclass
class ErrorInStream:
    """Stream one piece and then an error that repeats the API key."""

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        await call.start(200, {"Content-Type": "text/event-stream"})
        await call.write_piece("안")
        await call.write(sse({"error": {"message": f"failed for {call.authorization}"}}), more=False)


@dataclass
class Hang:
    """Send some pieces or nothing, then wait until the client disconnects."""

    pieces: Sequence[str] = ()

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        if self.pieces:
            await call.start(200, {"Content-Type": "text/event-stream"})
            for piece in self.pieces:
                await call.write_piece(piece)
        server.hanging.put(call)
        await call.gone()
        server.hung_up.put(call)


@dataclass
class Endless:
    """Send pieces, or `raw` bytes, until the client disconnects."""

    piece: str = "그리고 "
    raw: bytes = b""
    status: int = 200

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        await call.start(self.status, {"Content-Type": "text/event-stream"})
        gone = asyncio.create_task(call.gone())
        while not gone.done():
            await (call.write(self.raw) if self.raw else call.write_piece(self.piece))
            await asyncio.wait([gone], timeout=ENDLESS_PAUSE_S)
        server.hung_up.put(call)


@dataclass
class Break:
    """Close the connection before the answer is complete."""

    pieces: Sequence[str] = ()

    async def give(self, call: Call, server: "OpenAiServer") -> None:
        await call.start(200, {"Content-Type": "text/event-stream", "Content-Length": "100000"})
        for piece in self.pieces:
            await call.write_piece(piece)
        await call.write(b"")
        raise ConnectionAbortedError


@dataclass
class OpenAiServer:
    """Gives the scripted answers in order and repeats the last one.

    calls     all requests so far
    hanging   requests that were left waiting by `Hang`
    hung_up   requests whose client disconnected before the end of the answer
    """

    url: str
    calls: list[Call] = field(default_factory=list)
    hanging: "queue.Queue[Call]" = field(default_factory=queue.Queue)
    hung_up: "queue.Queue[Call]" = field(default_factory=queue.Queue)
    _answers: list[Answer] = field(default_factory=list)

    def script(self, *answers: Answer) -> None:
        """Set the answers from now on and forget earlier requests."""
        self._answers = list(answers)
        self.calls.clear()
        self.hanging, self.hung_up = queue.Queue(), queue.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = b"".join([part async for part in _parts(receive)])
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        call = Call(
            headers.get("authorization", ""),
            headers,
            json.loads(body or b"{}"),
            scope["query_string"].decode(),
            receive,
            send,
        )
        self.calls.append(call)
        if scope["path"] != PATH or not self._answers:
            await Refuse(404).give(call, self)
            return
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await answer.give(call, self)


async def _parts(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def sse(data: Any) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


@contextmanager
def running() -> Iterator[OpenAiServer]:
    """Run the server on its own thread while the context lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = OpenAiServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield app
        finally:
            server.should_exit = True
            thread.join()
