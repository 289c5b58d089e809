"""What every accepted request passes before Ray Serve sees it, in replicas of the ingress and in Serve's proxies.

Serve calls `middlewares` where `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names it, as deploy/serve.env does.
"""

import re
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.problems import MEDIA_TYPE, problem_response

STEERING = {
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"x-session-id",
    b"serve-multiplexed-model-id",
}
"""Headers with which any caller could end requests early, keep abandoned ones running, or choose a replica. Serve takes
an underscore in them for a hyphen, and fails on values that are not UTF-8.
"""
REQUEST_ID = b"x-request-id"
PLAIN_ID = re.compile(rb"[!-~]{1,128}")
ERRORS = {int(status) for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST}
MAX_HEADER_BYTES = 16 * 2**10
PROBES = {"/-/healthz", "/-/routes"}  # Serve's own routes for load balancers


def middlewares() -> list[Middleware]:
    """The middleware that Serve puts around its own handling of requests."""
    return [Middleware(Edge)]


class Edge:
    """ASGI middleware: bounds and filters the headers of requests, and makes Serve's own errors problems (RFC 9457)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without `STEERING` headers, or answer 431."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            await _large_headers()(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if _passes(*header)]
        await self._app({**scope, "headers": headers}, receive, ProblemSender(send))


def _large_headers() -> Response:
    """The refusal, with an id of its own: Serve, which gives ids to requests, does not see this one."""
    request_id = str(uuid4())
    named = Request({"type": "http", "headers": [(REQUEST_ID, request_id.encode())]})
    detail = f"the headers are over the limit of {MAX_HEADER_BYTES:,} bytes"
    headers = {"Connection": "close", "X-Request-ID": request_id}
    return problem_response(named, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, headers=headers)


def _passes(name: bytes, value: bytes) -> bool:
    """Whether a header is passed on. A request id goes into logs, so it must be short and printable."""
    return name.replace(b"_", b"-") not in STEERING and (name != REQUEST_ID or PLAIN_ID.fullmatch(value) is not None)


class ProblemSender:
    """Sends an answer. An error in plain text, which only Serve itself sends, becomes a problem with its headers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._problem: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Send the message, or the problem in its place."""
        if message["type"] == "http.response.start" and _is_plain_error(message):
            self._problem = message
        elif self._problem is None:
            await self._send(message)
        elif not message.get("more_body"):
            await self._send_problem(self._problem)

    async def _send_problem(self, start: Message) -> None:
        """Send the start of the answer as that of a problem, and the problem."""
        headers = MutableHeaders(scope=start)
        status = HTTPStatus(start["status"])
        asked = Request({"type": "http", "headers": [(REQUEST_ID, headers.get("x-request-id", "").encode())]})
        problem = problem_response(asked, status, status.description or status.phrase)
        headers.update({"content-type": MEDIA_TYPE, "content-length": str(len(problem.body))})
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": problem.body})


def _is_plain_error(start: Message) -> bool:
    """Whether this is an error in plain text. Serve sends its own status 499 to clients that are gone."""
    kind = Headers(raw=start["headers"]).get("content-type", "text/plain")
    return start["status"] in ERRORS and kind.startswith("text/plain")
