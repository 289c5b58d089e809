"""Bodies over a scripted connection, without a server."""

import asyncio
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from deployments.api.app import BODIES, FOLDERS, ROUTERS, STREAMED
from deployments.api.bodies import Bodies
from deployments.api.connections import ClosesUnread
from deployments.api.media_types import Kind
from deployments.settings import IngressSettings

NEVER: Message = {"type": "never"}
JSON = {"content-type": "application/json"}


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Connection:
    """Gives the scripted messages, then waits for ever, and records what is sent."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.received = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        message = self._messages.pop(0) if self._messages else NEVER
        if message is NEVER:
            await asyncio.Event().wait()
        self.received += 1
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body that a route would receive."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def bodies(app: Any = echo, **settings: Any) -> ClosesUnread:
    limits = {"max_body_bytes": 100, "max_upload_bytes": 200, "body_pause_s": 0.02, "min_body_bytes_per_s": 1000}
    return ClosesUnread(Bodies(app, kinds={"/json": Kind.JSON}, settings=IngressSettings(**(limits | settings))))


async def ask(app: ClosesUnread, *messages: Message, **headers: str) -> Connection:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = [(name.encode(), value.encode()) for name, value in (JSON | named).items()]
    connection = Connection(*messages)
    scope = {"type": "http", "method": "POST", "path": "/json", "headers": fields, "query_string": b""}
    await asyncio.wait_for(app(scope, connection.receive, connection.send), 10)
    return connection


WITHOUT_BODY = {"/v1/batches/{batch_id}/cancel"}


def test_each_post_route_has_a_kind_of_body() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    named = {route.path for route in routes if "POST" in route.methods and not route.path.startswith(tuple(FOLDERS))}
    assert named == {*BODIES, *STREAMED, *WITHOUT_BODY}


def test_a_body_in_pieces_is_passed_on_whole() -> None:
    connection = asyncio.run(ask(bodies(), piece(b'{"a"', more=True), piece(b"", more=True), piece(b": 1}")))
    assert connection.status == 200
    assert connection.sent[1]["body"] == b'{"a": 1}'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "101"}, 413),
        ({"content_type": "text/plain", "content_length": "50"}, 415),
        ({"content_encoding": "gzip", "transfer_encoding": "chunked"}, 415),
    ],
)
def test_a_refusal_by_headers_does_not_wait_for_the_body_and_closes_the_connection(
    headers: dict[str, str], status: int
) -> None:
    connection = asyncio.run(ask(bodies(), NEVER, **headers))
    assert (connection.status, connection.received) == (status, 0)
    assert connection.headers["connection"] == "close"


def test_a_body_without_length_is_refused_once_it_is_too_large_and_the_connection_is_closed() -> None:
    connection = asyncio.run(ask(bodies(), *[piece(b"x" * 40, more=True)] * 5, transfer_encoding="chunked"))
    assert (connection.status, connection.received) == (413, 3)
    assert connection.headers["connection"] == "close"


@pytest.mark.parametrize("messages", [[NEVER], [piece(b"{", more=True), NEVER]])
def test_a_body_that_stops_is_408_and_the_connection_is_closed(messages: list[Message]) -> None:
    connection = asyncio.run(ask(bodies(), *messages, content_length="50"))
    assert connection.status == 408
    assert connection.headers["connection"] == "close"


def test_a_body_below_the_lowest_rate_is_408_though_it_never_pauses_for_long() -> None:
    async def trickle() -> Connection:
        class Slow(Connection):
            async def receive(self) -> Message:
                await asyncio.sleep(0.005)
                return piece(b" ", more=True)

        connection = Slow()
        fields = [(name.encode(), value.encode()) for name, value in JSON.items()]
        scope = {"type": "http", "method": "POST", "path": "/json", "headers": fields, "query_string": b""}
        app = bodies(max_body_bytes=10**9, body_pause_s=0.1, min_body_bytes_per_s=10**6)
        await asyncio.wait_for(app(scope, connection.receive, connection.send), 10)
        return connection

    assert asyncio.run(trickle()).status == 408


def test_a_client_that_disconnects_within_its_body_reaches_no_route() -> None:
    async def unreachable(*_: Any) -> None:
        raise AssertionError("a route was called")

    disconnected = [piece(b'{"a": 1}', more=True), {"type": "http.disconnect"}]
    assert asyncio.run(ask(bodies(unreachable), *disconnected)).status == 400


def test_bad_json_is_400_and_the_connection_stays_open() -> None:
    connection = asyncio.run(ask(bodies(), piece(b'{"a": 1, "a": 2}')))
    assert connection.status == 400
    assert "connection" not in connection.headers


@pytest.mark.parametrize("settings", [{"json_budget_bytes": 90}, {"max_requests": 1}])
def test_a_body_beyond_the_budget_is_429_at_once_until_the_others_are_answered(settings: dict[str, int]) -> None:
    async def both() -> None:
        answer = asyncio.Event()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            await answer.wait()
            await echo(scope, receive, send)

        app = bodies(waiting, **settings)
        first = asyncio.create_task(ask(app, piece(b'"' + b"x" * 58 + b'"'), content_length="60"))
        await asyncio.sleep(0)
        refused = await ask(app, piece(b'"' + b"x" * 58 + b'"'), content_length="60")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        answer.set()
        assert (await first).status == 200
        assert (await ask(app, piece(b"1"), content_length="60")).status == 200

    asyncio.run(both())


def test_a_body_without_length_takes_from_the_budget_as_it_arrives() -> None:
    async def both() -> None:
        app = bodies(json_budget_bytes=90, body_pause_s=5)
        first = asyncio.create_task(ask(app, piece(b"x" * 60, more=True), NEVER))
        await asyncio.sleep(0)
        refused = await ask(app, piece(b"x" * 20, more=True), piece(b"x" * 20, more=True), NEVER)
        assert (refused.status, refused.received) == (429, 2)
        first.cancel()

    asyncio.run(both())


def test_bodies_that_are_announced_but_do_not_come_take_nothing_from_others() -> None:
    async def scenario() -> None:
        app = bodies(json_budget_bytes=90, max_requests=1, body_pause_s=5)
        idle = [asyncio.create_task(ask(app, NEVER, content_length="90")) for _ in range(50)]
        await asyncio.sleep(0)
        assert (await ask(app, piece(b"1"), content_length="80")).status == 200
        for task in idle:
            task.cancel()

    asyncio.run(scenario())


def test_a_body_that_takes_longer_than_the_request_may_is_504() -> None:
    async def scenario() -> Connection:
        app = bodies(deadline_s=0.01, body_pause_s=600)
        return await asyncio.wait_for(ask(app, piece(b"[", more=True), NEVER), timeout=60)

    assert asyncio.run(scenario()).status == 504


def test_the_bytes_of_a_cancelled_request_return_to_the_budget() -> None:
    async def both() -> None:
        app = bodies(json_budget_bytes=90, body_pause_s=5)
        first = asyncio.create_task(ask(app, piece(b"x" * 80, more=True), NEVER, content_length="90"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await ask(app, piece(b"1"), content_length="80")).status == 200

    asyncio.run(both())
