"""One request to a server of OpenAI's chat-completions protocol, with the caller's own key.

The client's errors hold the request, and the request the key. So none of them leaves this module, nor is chained to
one that does, and nothing that the provider says of an error is repeated.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, Field, SecretStr

from pipelines.chat.prompt import Message
from pipelines.chat.settings import ProviderSettings
from pipelines.errors import (
    ProviderAnswerUnusable,
    ProviderError,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderTimedOut,
)


class ResponseTooLong(ValueError):
    """More bytes came than are taken."""


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with ResponseTooLong, or, `quietly`, just ends, where more than `limit` bytes come."""

    def __init__(self, body: httpx2.AsyncByteStream, limit: int, *, quietly: bool) -> None:
        self._body = body
        self._limit = limit
        self._quietly = quietly

    async def __aiter__(self) -> AsyncIterator[bytes]:
        come = 0
        async for part in self._body:
            come += len(part)
            if come > self._limit:
                if self._quietly:
                    return
                raise ResponseTooLong
            yield part

    async def aclose(self) -> None:
        """Hang up."""
        await self._body.aclose()


def bounded_to(limit: int) -> Callable[[httpx2.Response], Awaitable[None]]:
    """A client's hook for responses. Of an error's body the rest is left, since its status says enough.

    Bytes of a compressed body would say nothing of its size, so none is decompressed: requests ask for none.
    """

    async def bound(response: httpx2.Response) -> None:
        body = cast(httpx2.AsyncByteStream, response.stream)  # the client is an asynchronous one
        response.stream = _Bounded(body, limit, quietly=response.is_error)
        response.headers.pop("Content-Encoding", None)

    return bound


NO_KEY = "none"  # the client wants one; each request has its caller's in its place
LEAST_RETRY_AFTER_S = 1.0
WHERE_SET = {"temperature", "max_completion_tokens", "max_tokens"}
# The last two where JSON is none, not a completion, or deeper than the parser goes.
ERRORS = (openai.OpenAIError, httpx2.HTTPError, ValueError, RecursionError)


class _Text(BaseModel):
    content: str | None = None  # null where the model says nothing, or calls a tool


class _Choice(BaseModel):
    message: _Text


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class Completions:
    """Requests over one pool of connections. All raise ProviderError."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s),
            limits=httpx2.Limits(max_connections=settings.max_connections),
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [bounded_to(settings.max_answer_bytes)]},
        )
        client = openai.AsyncOpenAI(
            api_key=NO_KEY,
            admin_api_key="",
            base_url=settings.base_url,
            # The operator's environment may name these, but the key is another's.
            default_headers={"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit},  # type: ignore[dict-item]
            max_retries=0,  # its own pauses know no deadline
            http_client=self._http,
        )
        self._completions = client.chat.completions

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def whole(self, messages: Sequence[Message], key: SecretStr) -> str:
        """The answer in one."""
        try:
            create = self._completions.with_raw_response.create
            content = (await create(**self._arguments(messages, key))).content
            return _Completion.model_validate_json(content).choices[0].message.content or ""
        except ERRORS as error:
            caught = error
        raise _translated(caught)  # not in the `except`, which would make the client's error its context

    async def pieces(self, messages: Sequence[Message], key: SecretStr) -> AsyncGenerator[str]:
        """The answer in pieces, as they come; closing the iterator hangs up."""
        chunk = None
        try:
            async with await self._completions.create(stream=True, **self._arguments(messages, key)) as chunks:
                async for chunk in chunks:
                    if piece := _piece(chunk):
                        yield piece
            if chunk is not None:
                return
            caught: Exception = ValueError("a stream without a chunk")
        except ERRORS as error:
            caught = error
        raise _translated(caught)

    def _arguments(self, messages: Sequence[Message], key: SecretStr) -> dict[str, Any]:
        return {
            "model": self._settings.model,
            "messages": messages,
            **self._settings.model_dump(include=WHERE_SET, exclude_none=True),
            "extra_headers": {"Authorization": f"Bearer {key.get_secret_value()}"},
        }


def _piece(chunk: ChatCompletionChunk) -> str | None:
    """The text in a chunk; some hold none. The client builds its objects without looking at what they are of."""
    try:
        piece = chunk.choices[0].delta.content if chunk.choices else None
    except (AttributeError, TypeError, LookupError):
        raise ValueError("not a chunk of a completion") from None
    return piece if isinstance(piece, str) else None


def _translated(error: Exception) -> ProviderError:
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ProviderKeyRefused()
        case openai.RateLimitError():
            return ProviderOverloaded(_retry_after_s(error.response.headers.get("Retry-After", "")))
        case openai.APIStatusError() if error.status_code < 500:
            return ProviderRejected(error.status_code)
        case openai.APIStatusError():
            return ProviderFailed(f"status {error.status_code}")
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return ProviderTimedOut()
        case openai.APIConnectionError() | httpx2.HTTPError():
            return ProviderFailed("the connection broke, or there was none")
        case openai.APIError():
            return ProviderFailed("an error in place of an answer")
        case ResponseTooLong():
            return ProviderAnswerUnusable("it is longer than this server takes")
    return ProviderAnswerUnusable("it is not a completion")


def _retry_after_s(header: str) -> float:
    """Seconds from now: the header has a number of them, or a date (RFC 9110, section 10.2.3)."""
    try:
        seconds = float(header) if header.isdecimal() else parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):  # the latter of a year that no calendar holds
        seconds = LEAST_RETRY_AFTER_S
    return max(seconds, LEAST_RETRY_AFTER_S) if math.isfinite(seconds) else LEAST_RETRY_AFTER_S
