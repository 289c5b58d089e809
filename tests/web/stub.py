"""A server in place of the ingress: the real files of the page, and the answers that a test has scripted."""

import json
import socket
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from deployments.api.service import PAGE_POLICY, WEB


@dataclass(frozen=True)
class Answer:
    """One scripted answer. It is sent once `gate` is set; of a stream, the last piece."""

    content: bytes
    status: int
    headers: Mapping[str, str]
    gate: Event
    last: bytes = b""

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The content at once, and the last piece once the gate is open."""
        yield self.content
        await run_in_threadpool(self.gate.wait)
        yield self.last


@dataclass
class Stub:
    """Answers each path with what `give` scripted for it, in order. The last answer is repeated. Without any: 404."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    received: list[tuple[str, bytes]] = field(default_factory=list)
    authorizations: list[tuple[str, str | None]] = field(default_factory=list)
    gates: list[Event] = field(default_factory=list)

    def give_events(self, path: str, *events: tuple[str, Any]) -> Event:
        """Script an answer of (event, data) server-sent events. Clear the returned event to delay the last one."""
        blocks = [f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n" for name, data in events]
        kind = {"Content-Type": "text/event-stream"}
        answer = Answer("".join(blocks[:-1]).encode(), 200, kind, Event(), blocks[-1].encode())
        answer.gate.set()
        self.gates.append(answer.gate)
        self.answers.setdefault(path, []).append(answer)
        return answer.gate

    def give(self, path: str, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Event:
        """Script an answer: text is sent unchanged, other bodies as JSON. Clear the returned event to delay it."""
        content = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        kind = (
            "text/html" if isinstance(body, str) else "application/json" if status < 400 else "application/problem+json"
        )
        answer = Answer(content.encode(), status, {"Content-Type": kind, **(headers or {})}, Event())
        answer.gate.set()
        self.gates.append(answer.gate)
        self.answers.setdefault(path, []).append(answer)
        return answer.gate

    def reset(self) -> None:
        for gate in self.gates:
            gate.set()
        self.gates.clear()
        self.answers.clear()
        self.received.clear()
        self.authorizations.clear()

    async def respond(self, request: Request) -> Response:
        self.received.append((request.url.path, await request.body()))
        self.authorizations.append((request.url.path, request.headers.get("authorization")))
        answers = self.answers.get(request.url.path)
        if not answers:
            return Response(status_code=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.last:
            return StreamingResponse(answer.pieces(), answer.status, answer.headers)
        await run_in_threadpool(answer.gate.wait)
        return Response(answer.content, answer.status, answer.headers)


@contextmanager
def serving(stub: Stub) -> Iterator[str]:
    """Serve the page and the stub's answers on a free port. Yields the address of the page."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(_app(stub), log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            stub.reset()
            server.should_exit = True
            thread.join()


def _app(stub: Stub) -> FastAPI:
    app = FastAPI(docs_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=WEB))

    @app.middleware("http")
    async def protect(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.add_api_route("/{path:path}", stub.respond, methods=["GET", "POST"], response_model=None)
    return app
