"""Limits on what comes in, checked before the work: bytes while a body is read, characters of each text."""

from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.problems import problem_response
from pipelines.errors import TooLarge

TRUNCATED = "X-Truncated"  # set where a text had more tokens than the model reads


def refuse_long(what: str, text: str, max_characters: int) -> None:
    """Raises TooLarge, naming the field, where `text` has more than `max_characters`."""
    if len(text) > max_characters:
        raise TooLarge(what, max_characters, "characters")


class BodyLimit:
    """ASGI middleware: a body over its limit gets 413, before it is read where its length is told."""

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
        told = request.headers.get("content-length", "0")
        if told.isdecimal() and int(told) > error.limit:
            refusal = problem_response(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
            await refusal(scope, receive, send)
            return
        await self._app(scope, _counting(receive, error), send)


def _counting(receive: Receive, error: TooLarge) -> Receive:
    """`receive` that refuses as soon as more than the limit has come: a chunked body does not tell its length."""
    come = 0

    async def counted() -> Message:
        nonlocal come
        message = await receive()
        come += len(message.get("body", b""))
        if come > error.limit:
            # FastAPI turns any other exception in a body into a 400
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        return message

    return counted
