"""The time until a request must be answered: that of the settings, or less if the caller says so.

It begins when the ingress receives the headers. When it is over, the work is cancelled in all replicas.
"""

import asyncio
import math
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.api.problems import munjang_error
from pipelines.errors import DeadlineExceeded, MalformedInput

TIMEOUT = "X-Timeout-Seconds"

_begun_s: ContextVar[float] = ContextVar("_begun_s")
_timeout_s: ContextVar[float] = ContextVar("_timeout_s", default=math.inf)


class Deadline:
    """Cancels the work inside `seconds` after the request began, or earlier if its caller says so.

    Leaving it raises DeadlineExceeded with the time in seconds that the request had.
    """

    def __init__(self, seconds: float) -> None:
        self.allowed_s = min(seconds, _timeout_s.get())
        self.at_s = _begun_s.get(asyncio.get_running_loop().time()) + self.allowed_s
        self._timeout = asyncio.timeout_at(self.at_s)

    async def __aenter__(self) -> None:
        """Begin the work."""
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        """End the work."""
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError as error:
            raise DeadlineExceeded(self.allowed_s) from error


def begun_s() -> float:
    """When the request of this context began, by the clock of the event loop."""
    return _begun_s.get()


class CallersDeadline:
    """ASGI middleware: notes when a request begins, and the time that its caller gives it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 if its header is no time."""
        if scope["type"] == "http":
            _begun_s.set(asyncio.get_running_loop().time())
            try:
                _timeout_s.set(_timeout_of(Headers(scope=scope).get(TIMEOUT)))
            except ValueError:
                error = MalformedInput(f"{TIMEOUT} must be a number of seconds above 0")
                await (await munjang_error(Request(scope), error))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _timeout_of(value: str | None) -> float:
    """The seconds that a header names. Raises ValueError."""
    seconds = math.inf if value is None else float(value)
    if not seconds > 0:
        raise ValueError("no time")
    return seconds
