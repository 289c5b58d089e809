"""Read the body of a response as server-sent events (HTML standard, section 9.2)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx2

REST_S = 0.1  # how long to wait for a response to end after its last event


class ErrorInStream(ValueError):
    """The server sent an error as an event of a stream."""


async def event_data(response: httpx2.Response, *, end: str) -> AsyncIterator[str]:
    """Yield the data of each event that has any, up to an event whose data begins with `end`, or to the end.

    The media type of the response is not checked: some servers name a wrong one. Events may have any length, so the
    response must have a limit of its own. Raises ErrorInStream for an event that is named "error", and what reading the
    response raises.
    """
    response.headers["Content-Type"] = "text/event-stream"
    response.encoding = "utf-8-sig"  # UTF-8 that may begin with a byte order mark
    events = aiter(httpx2.EventSource(response, max_event_size=None))
    async for event in events:
        if event.event == "error":
            raise ErrorInStream
        if event.data.startswith(end):
            await _read_rest(events)
            return
        if event.data:
            yield event.data


async def _read_rest(events: AsyncIterator[httpx2.ServerSentEvent]) -> None:
    """Read the response to its end, so that its connection can be used again.

    Nothing more is needed from it, so errors are ignored, and a response that does not end soon is left.
    """
    with suppress(TimeoutError, httpx2.HTTPError, ssl.SSLError, ValueError):
        async with asyncio.timeout(REST_S):
            async for _ in events:
                pass
