"""Limits on requests, checked before any work: bytes of a body while it is read, and characters of each text."""

from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.problems import problem_response
from pipelines.errors import TooLarge

TRUNCATED = "X-Truncated"  # response header; set if a text has more tokens than the model reads


def refuse_long(what: str, text: str, max_characters: int) -> None:
    """Raise TooLarge, with `what` as the name of the field, if `text` has more than `max_characters`."""
    if len(text) > max_characters:
        raise TooLarge(what, max_characters, "characters")


class BodyLimit:
    """ASGI middleware: refuse a body over its limit with 413, before reading it if there is a Content-Length."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_upload_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        upload = request.headers.get("content-type", "").startswith("multipart/")
        error = TooLarge("the body", self._max_upload_bytes if upload else self._max_body_bytes, "bytes")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > error.limit:
            refusal = problem_response(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
            await refusal(scope, receive, send)
            return
        await self._app(scope, _counting(receive, error), send)


def _counting(receive: Receive, error: TooLarge) -> Receive:
    """Wrap `receive`: raise as soon as the body exceeds the limit. A chunked body has no Content-Length."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > error.limit:
            # FastAPI would answer any other exception raised here with 400.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        return message

    return counted
