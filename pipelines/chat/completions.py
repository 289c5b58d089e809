"""One request to a server of OpenAI's chat-completions protocol, with the caller's own key.

The HTTP client's errors hold the request, and the request holds the key. So no such error leaves this module, none is
chained to an error that does, and no error repeats what the provider said.
"""

import math
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import cast

import httpx2
from pydantic import SecretStr, ValidationError

from pipelines.chat.answers import Chunk, text_of_completion
from pipelines.chat.event_stream import ErrorInStream, event_data
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

PATH = b"/chat/completions"  # under the base URL
LEAST_RETRY_AFTER_S = 1.0
SENT_WHERE_SET = {"temperature", "max_completion_tokens", "max_tokens"}


class ResponseTooLong(ValueError):
    """The response has more bytes than the settings allow."""


# httpx2 does not translate the TLS errors of a connection that is already open. ValueError covers the two errors above
# and pydantic's, for JSON that is broken, nested too deeply or not a completion.
ERRORS = (httpx2.HTTPError, ssl.SSLError, ValueError)


class _Bounded(httpx2.AsyncByteStream):
    """The part of a response's body that is within `limit` bytes.

    A longer body raises ResponseTooLong there. If `quietly` is true, it just ends there.
    """

    def __init__(self, body: httpx2.AsyncByteStream, limit: int, *, quietly: bool) -> None:
        self._body = body
        self._limit = limit
        self._quietly = quietly

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for part in self._body:
            received += len(part)
            if received > self._limit:
                if self._quietly:
                    return
                raise ResponseTooLong
            yield part

    async def aclose(self) -> None:
        """Close the connection."""
        await self._body.aclose()


def bounded_to(limit: int) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook for a client that bounds the body of each response to `limit` bytes.

    The body of an error response is cut at the limit, because its status says enough. No body is decompressed, because
    it could grow far beyond the limit; requests ask for uncompressed responses.
    """

    async def bound(response: httpx2.Response) -> None:
        body = cast(httpx2.AsyncByteStream, response.stream)  # the client is an asynchronous one
        response.stream = _Bounded(body, limit, quietly=response.is_error)
        response.headers.pop("Content-Encoding", None)

    return bound


def endpoint(base_url: str) -> httpx2.URL:
    """The URL of requests: the base URL with `PATH`, if it has not that, and with its own query, which Azure needs."""
    url = httpx2.URL(base_url)
    path, mark, query = url.raw_path.partition(b"?")
    path = path.rstrip(b"/").removesuffix(PATH) + PATH
    return url.copy_with(raw_path=path + mark + query)


class Completions:
    """Sends requests over one pool of connections. `whole` and `pieces` raise ProviderError."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._url = endpoint(settings.base_url)
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s),
            limits=httpx2.Limits(max_connections=settings.max_connections),
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [bounded_to(settings.max_answer_bytes)]},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def whole(self, messages: Sequence[Message], key: SecretStr) -> str:
        """Return the whole answer."""
        try:
            response = await self._http.send(self._request(messages, key))
            response.raise_for_status()
            return text_of_completion(response.content)
        except ERRORS as error:
            caught = error
        raise _translated(caught)  # not in the `except`, which would make the client's error its context

    async def pieces(self, messages: Sequence[Message], key: SecretStr) -> AsyncGenerator[str]:
        """Yield the answer in pieces as they arrive. Closing the iterator closes the connection."""
        chunk, in_deltas = None, False
        try:
            request = self._request(messages, key, stream=True)
            async with aclosing(await self._http.send(request, stream=True)) as response:
                async for chunk in _chunks(response):
                    chunk.raise_error()
                    piece = chunk.deltas()
                    in_deltas = in_deltas or bool(piece)
                    if piece := piece if in_deltas else chunk.messages():
                        yield piece
            if chunk is not None:
                return
            caught: Exception = ValueError("a stream without a chunk")
        except ERRORS as error:
            caught = error
        raise _translated(caught)

    def _request(self, messages: Sequence[Message], key: SecretStr, *, stream: bool = False) -> httpx2.Request:
        body = self._settings.model_dump(include=SENT_WHERE_SET, exclude_none=True)
        body |= {"model": self._settings.model, "messages": messages}
        if stream:
            body["stream"] = True
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        return self._http.build_request("POST", self._url, json=body, headers=headers)


async def _chunks(response: httpx2.Response) -> AsyncIterator[Chunk]:
    """Yield the chunks of a streamed answer. Events that are none are skipped: some servers send others between them.

    Raises HTTPStatusError, with the body read, where there is no answer, and ErrorInStream for an event named "error".
    """
    if not response.is_success:
        await response.aread()  # a connection can be used again only after a response that was read to its end
    response.raise_for_status()
    async for data in event_data(response, end="[DONE]"):
        try:
            chunk = Chunk.model_validate_json(data)
        except ValidationError:
            continue
        yield chunk


def _translated(error: Exception) -> ProviderError:
    match error:
        case httpx2.HTTPStatusError():
            return _refusal(error.response)
        case httpx2.TimeoutException():
            return ProviderTimedOut()
        case httpx2.HTTPError() | ssl.SSLError():
            return ProviderFailed("the connection broke, or there was none")
        case ErrorInStream():
            return ProviderFailed("an error in place of an answer")
        case ResponseTooLong():
            return ProviderAnswerUnusable("it is longer than this server takes")
    return ProviderAnswerUnusable("it is not a completion")


def _refusal(response: httpx2.Response) -> ProviderError:
    match response.status_code:
        case 401 | 403:
            return ProviderKeyRefused()
        case 429:
            return ProviderOverloaded(_retry_after_s(response.headers.get("Retry-After", "")))
        case status if status < 500:
            return ProviderRejected(status)
        case status:
            return ProviderFailed(f"status {status}")


def _retry_after_s(header: str) -> float:
    """Return the seconds from now that the header asks for, as a number or a date (RFC 9110, section 10.2.3)."""
    try:
        seconds = float(header) if header.isdecimal() else parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):  # OverflowError for a year that no calendar has
        seconds = LEAST_RETRY_AFTER_S
    return max(seconds, LEAST_RETRY_AFTER_S) if math.isfinite(seconds) else LEAST_RETRY_AFTER_S
