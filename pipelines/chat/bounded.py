"""A bound on what any response may bring, counted as it comes off the connection, before anything is made of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx2


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
