"""Errors in the shapes of other servers, on their routes."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel

from pipelines.errors import FieldFault


class OpenAiFault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiError(BaseModel):
    """The body of an error answer, as OpenAI's clients read it."""

    error: OpenAiFault


class TeiError(BaseModel):
    """The body of an error answer, as text-embeddings-inference has it. Cohere's clients read `message`."""

    error: str
    error_type: Literal["Validation", "Tokenizer", "Empty", "Overloaded", "Backend", "Unhealthy"]
    message: str


Shape = Literal["openai", "tei"]

OPENAI = (
    "/v1/embeddings",
    "/v1/models",
    "/v1/files",
    "/v1/batches",
    "/v1/score",
    "/score",
    "/v1/rerank",
    "/v2/rerank",
    "/classify",
)
TEI = ("/embed", "/similarity", "/predict", "/rerank", "/tokenize", "/decode", "/health", "/ping", "/models")
_FIRST = {path.split("/", 2)[1]: "tei" for path in TEI} | {"score": "openai", "classify": "openai"}
_SECOND = {path.removeprefix("/v1/").removeprefix("/v2/") for path in OPENAI if path[:3] in ("/v1", "/v2")}

_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_FUTILE = (HTTPStatus.GATEWAY_TIMEOUT, HTTPStatus.INSUFFICIENT_STORAGE)
_REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.FAILED_DEPENDENCY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
OPENAI_REFUSALS: dict[int | str, dict[str, Any]] = {
    int(status): {"description": status.phrase, "model": OpenAiError} for status in _REFUSED
}
TEI_REFUSALS: dict[int | str, dict[str, Any]] = {
    int(status): {"description": status.phrase, "model": TeiError} for status in _REFUSED
}


def shape_of(path: str, method: str = "POST") -> Shape | None:
    """Whose errors a route has; None: the project's own."""
    if path == "/":  # a POST embeds texts, as in TEI
        return "tei" if method == "POST" else None
    parts = path.split("/")
    first = parts[1] if len(parts) > 1 else ""
    if first in ("v1", "v2"):
        return "openai" if len(parts) > 2 and parts[2] in _SECOND else None
    found = _FIRST.get(first)
    return "openai" if found == "openai" else "tei" if found else None


def error_body(shape: Shape, status: HTTPStatus, detail: str, faults: Sequence[FieldFault]) -> dict[str, Any]:
    """The body of an error answer in this shape."""
    if shape == "tei":
        return {"error": detail, "error_type": _tei_type(status, faults), "message": detail}
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    param = faults[0].pointer.lstrip("/").replace("/", ".") if faults else ""
    fault = OpenAiFault(
        message=detail, type=_TYPES.get(status, kind), param=param or None, code=_openai_code(status, faults)
    )
    return {"error": fault.model_dump()}


def _openai_code(status: HTTPStatus, faults: Sequence[FieldFault]) -> str | None:
    if faults:
        return faults[0].code
    codes = {HTTPStatus.UNAUTHORIZED: "invalid_api_key", HTTPStatus.NOT_FOUND: "model_not_found"}
    return codes.get(status)


def _tei_type(status: HTTPStatus, faults: Sequence[FieldFault]) -> str:
    if faults and faults[0].code in ("foreign_token_id", "too_many_tokens"):
        return "Tokenizer"
    if faults and faults[0].code in ("number_of_inputs", "too_short"):
        return "Empty"
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "Overloaded"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        return "Unhealthy"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status is HTTPStatus.FAILED_DEPENDENCY:
        return "Backend"
    return "Validation"


def error_headers(shape: Shape, status: HTTPStatus, detail: str) -> dict[str, str]:
    """Headers that clients of this shape read beside the body.

    OpenAI's would repeat a request whose own deadline is over, or an upload for which there is no room;
    Hugging Face's show `X-Error-Message`.
    """
    if shape == "openai":
        return {"x-should-retry": "false"} if status in _FUTILE else {}
    return {"X-Error-Message": detail.encode("ascii", "replace").decode().replace("\n", " ")}
