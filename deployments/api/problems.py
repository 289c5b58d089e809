"""Every error as `application/problem+json` (RFC 9457). The input is never echoed, nor anything secret in it."""

import logging
import math
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pipelines.errors import (
    CheckpointMismatch,
    CheckpointsMixed,
    DeadlineExceeded,
    FieldFault,
    InvalidInput,
    MalformedInput,
    MunjangError,
    Overloaded,
    PassesLater,
    ProviderAnswerUnusable,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderSuspended,
    ProviderTimedOut,
    StageUnavailable,
    StoreCorrupt,
    StoreNotFound,
    TooLarge,
)

logger = logging.getLogger("ray.serve")

MEDIA_TYPE = "application/problem+json"
UPDATED_WITHIN_S = 5

# From error to status; a class that is not named has its nearest ancestor's.
STATUS: dict[type[Exception], HTTPStatus] = {
    MalformedInput: HTTPStatus.BAD_REQUEST,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
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
    """One field at fault."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to the field.", examples=["/sentence_1"])
    code: str = Field(examples=["missing"])
    detail: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field("about:blank", description="about:blank: the status says it all.")
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str
    instance: str | None = Field(None, description="The request's id, as in X-Request-ID.")
    errors: list[Fault] = Field(default_factory=list)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For a route's OpenAPI: the refusals that it can give."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        int(status): {"description": status.phrase, "model": Problem, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


REFUSALS = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""Of a route that asks a model."""


def problem_response(
    request: Request,
    status: HTTPStatus,
    detail: str,
    *,
    faults: Sequence[FieldFault] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that failed."""
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        instance=request.headers.get("x-request-id"),
        errors=[Fault(pointer=fault.pointer, code=fault.code, detail=fault.detail) for fault in faults],
    )
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let `app` answer all errors so."""
    app.add_exception_handler(MunjangError, munjang_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


async def munjang_error(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error of the project's own. Any other is a fault of this server."""
    if not isinstance(error, MunjangError):
        return await _unexpected(request, error)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    faults = error.faults if isinstance(error, InvalidInput) else ()
    return problem_response(request, status, str(error), faults=faults, headers=_headers(error))


def _headers(error: Exception) -> dict[str, str] | None:
    match error:
        case PassesLater():
            return {"Retry-After": str(math.ceil(error.retry_after_s))}
        case CheckpointMismatch() | CheckpointsMixed():
            return {"Retry-After": str(UPDATED_WITHIN_S)}
        case ProviderKeyRefused():  # with a 401 there must be a challenge (RFC 9110, section 11.6.1)
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
    return problem_response(request, status, error.detail or status.phrase, headers=dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of this server. The log has the error's type and place, and not its words, which may be the caller's."""
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s %s failed: %s\n%s", request.method, request.url.path, type(error).__name__, places)
    return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed on this request")


def pointer(location: Sequence[int | str]) -> str:
    """A JSON pointer from pydantic's location of an error."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
