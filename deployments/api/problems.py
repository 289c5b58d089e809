"""Answer every error as `application/problem+json` (RFC 9457). Answers never repeat the input or its secrets."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.clients.errors import error_body, error_headers, shape_of
from deployments.calls.without_messages import log_failure
from deployments.metrics.requests import refused
from pipelines.errors import (
    CheckpointMismatch,
    CheckpointsMixed,
    Conflict,
    DeadlineExceeded,
    FieldFault,
    InvalidInput,
    MalformedInput,
    MunjangError,
    Overloaded,
    ProviderAnswerUnusable,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderSuspended,
    ProviderTimedOut,
    RetryLater,
    StageUnavailable,
    StorageFailed,
    StorageFull,
    StoreCorrupt,
    StoreNotFound,
    TooLarge,
    TooSlow,
    UnknownId,
    UnknownModel,
    UnsupportedMedia,
    WrongKind,
)

MEDIA_TYPE = "application/problem+json"
UPDATE_RETRY_AFTER_S = 5

# The status of each error class. A class that is not listed has the status of its nearest ancestor.
STATUS: dict[type[Exception], HTTPStatus] = {
    MalformedInput: HTTPStatus.BAD_REQUEST,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    UnknownModel: HTTPStatus.NOT_FOUND,
    WrongKind: HTTPStatus.FAILED_DEPENDENCY,
    UnknownId: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    StageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    CheckpointMismatch: HTTPStatus.SERVICE_UNAVAILABLE,
    CheckpointsMixed: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreNotFound: HTTPStatus.NOT_FOUND,
    StoreCorrupt: HTTPStatus.SERVICE_UNAVAILABLE,
    ProviderKeyRefused: HTTPStatus.UNAUTHORIZED,
    ProviderOverloaded: HTTPStatus.TOO_MANY_REQUESTS,
    ProviderRejected: HTTPStatus.BAD_GATEWAY,
    ProviderFailed: HTTPStatus.BAD_GATEWAY,
    ProviderAnswerUnusable: HTTPStatus.BAD_GATEWAY,
    ProviderTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    ProviderSuspended: HTTPStatus.SERVICE_UNAVAILABLE,
    Exception: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class Fault(BaseModel):
    """One invalid field."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to the field.", examples=["/sentence_1"])
    code: str = Field(examples=["missing"])
    detail: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """The body of an error answer."""

    type: str = Field("about:blank", description="Always about:blank: `status` is the type of the problem.")
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str
    instance: str | None = Field(None, description="The id of the request, as in the header X-Request-ID.")
    errors: list[Fault] = Field(default_factory=list)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the error answers of a route."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        int(status): {"description": status.phrase, "model": Problem, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


REFUSALS = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""Error answers of a route that calls a model."""


def problem_response(
    request: Request,
    status: HTTPStatus,
    detail: str,
    *,
    faults: Sequence[FieldFault] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Build the answer to a request that failed, on the routes of other servers in their shape."""
    if shape := shape_of(request.scope.get("path", ""), request.scope.get("method", "")):
        more = (headers or {}) | error_headers(shape, status, detail)
        return JSONResponse(error_body(shape, status, detail, faults), status, more)
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        instance=request.headers.get("x-request-id"),
        errors=[Fault(pointer=fault.pointer, code=fault.code, detail=fault.detail) for fault in faults],
    )
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make `app` answer all errors as problems."""
    app.add_exception_handler(MunjangError, munjang_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_middleware(Failures)


async def munjang_error(request: Request, error: Exception) -> JSONResponse:
    """Build the answer to one of the project's own errors. Any other error is a bug of this server and gets 500."""
    if not isinstance(error, MunjangError):
        return await _unexpected(request, error)
    refused(request.scope, type(error).__name__)
    status = status_of(error)
    faults = error.faults if isinstance(error, InvalidInput) else ()
    return problem_response(request, status, str(error), faults=faults, headers=_headers(error))


def status_of(error: Exception) -> HTTPStatus:
    """The status of an error's class, or of its nearest ancestor."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _headers(error: Exception) -> dict[str, str] | None:
    match error:
        case RetryLater():
            return {"Retry-After": str(math.ceil(error.retry_after_s))}
        case CheckpointMismatch() | CheckpointsMixed():
            return {"Retry-After": str(UPDATE_RETRY_AFTER_S)}
        case ProviderKeyRefused():  # a 401 must have a challenge (RFC 9110, section 11.6.1)
            return {"WWW-Authenticate": 'Bearer realm="language-model provider"'}
    return None


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        return await _unexpected(request, error)
    found = error.errors()
    if any(fault["type"] == "json_invalid" for fault in found):
        return await munjang_error(request, MalformedInput("the body is not valid JSON"))
    faults = [FieldFault(pointer(fault["loc"][1:]), fault["type"], fault["msg"]) for fault in found]
    return await munjang_error(request, InvalidInput(*faults))


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return await _unexpected(request, error)
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return problem_response(request, status, error.detail or status.phrase, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of a path. Starlette names those of the first of its routes only."""
    routes: Sequence[Route] = request.app.state.routes
    here = [route for route in routes if route.path_regex.match(request.scope["path"])]
    return ", ".join(sorted({method for route in here for method in route.methods or ()}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """Answer 500. Log the error's type and traceback but not its message, which may contain the caller's text."""
    path = request.scope["path"]  # of a route, unless it has a name that the caller chose
    log_failure(f"{request.method} {path if path in request.app.state.paths else 'of a file'}", error)
    refused(request.scope, "UnexpectedError")
    return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed on this request")


class Failures:
    """ASGI middleware: answers 500 to unexpected errors. Starlette would raise them again, and Serve would log them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Raises ConnectionError if the answer has begun: so the client sees that it is cut."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
            return
        except Exception as error:
            failure = error
        refusal = await _unexpected(Request(scope), failure)
        if begun:
            raise ConnectionError("the answer broke off")
        await refusal(scope, receive, send)


def pointer(location: Sequence[int | str]) -> str:
    """Convert pydantic's location of an error to a JSON pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
