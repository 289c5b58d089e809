"""Normalize the paths of requests, and close connections whose request was answered before its body had been read."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.problems import problem_response

MAX_IGNORED_BYTES = 64 * 2**10


class RoutePaths:
    """ASGI middleware: removes the prefix that a proxy has added to a path, and answers 404 to control characters.

    Starlette's routes match a path with a line feed at its end, too, which no other middleware would recognize.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path of its route, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if not path.isprintable():
            refusal = problem_response(Request(scope), HTTPStatus.NOT_FOUND, "the path has control characters")
            await refusal(scope, receive, send)
            return
        await self._app({**scope, "path": path, "root_path": ""}, receive, send)


class ClosesUnread:
    """ASGI middleware: adds `Connection: close` to an answer that begins before the whole body has been read.

    Otherwise a client could hold the connection by sending the rest for ever.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or not has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        unread = True

        async def noting() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def closing(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, noting, closing)


def has_body(headers: Headers) -> bool:
    """Whether a request has a body, by its headers (RFC 9112, section 6.3)."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def has_large_body(headers: Headers) -> bool:
    """Whether the body is longer than a path without a body ignores, or its length is not known."""
    declared = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not declared.isdecimal() or int(declared) > MAX_IGNORED_BYTES
