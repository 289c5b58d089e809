"""Quotas of a key: most requests, and most bytes of their bodies, a minute.

Each ingress replica counts for itself, so with several replicas a key may use as many times its quota.
"""

import math
import time
from collections.abc import Callable

from starlette.types import Message, Receive, Send

from deployments.keys import Key

MINUTE_S = 60


class Allowance:
    """A number of `unit` for each minute. Where more was used, the rest is taken from the minutes that follow."""

    def __init__(self, limit: int, unit: str) -> None:
        self.limit = limit
        self.unit = unit
        self.used = 0
        self._minute = 0

    @property
    def remaining(self) -> int:
        """What is left of this minute; 0 if more was used."""
        return max(0, self.limit - self.used)

    def begin(self, minute: int) -> None:
        """Count for the minute with this number."""
        self.used = max(0, self.used - self.limit * (minute - self._minute))
        self._minute = minute


class Quota:
    """What one key has used of its allowances."""

    def __init__(self, key: Key, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._requests = Allowance(key.requests_per_minute, "requests") if key.requests_per_minute else None
        self._bytes = Allowance(key.bytes_per_minute, "bytes of bodies") if key.bytes_per_minute else None
        self._allowances = [allowance for allowance in (self._requests, self._bytes) if allowance]

    def exhausted(self) -> Allowance | None:
        """The allowance of which nothing is left in this minute, if there is one."""
        minute = int(self._clock_s() // MINUTE_S)
        for allowance in self._allowances:
            allowance.begin(minute)
        return next((allowance for allowance in self._allowances if not allowance.remaining), None)

    def use(self, *, requests: int = 0, body_bytes: int = 0) -> None:
        """Count a request, or bytes of a body."""
        if self._requests:
            self._requests.used += requests
        if self._bytes:
            self._bytes.used += body_bytes

    def headers(self) -> dict[str, str]:
        """The headers RateLimit-*, for the allowance of which the smallest share is left. None without a quota."""
        if not self._allowances:
            return {}
        scarcest = min(self._allowances, key=lambda allowance: allowance.remaining / allowance.limit)
        return {
            "RateLimit-Limit": str(scarcest.limit),
            "RateLimit-Remaining": str(scarcest.remaining),
            "RateLimit-Reset": str(self._reset_s()),
        }

    def retry_after_s(self, exhausted: Allowance) -> int:
        """Seconds until something of the exhausted allowance is left again."""
        return self._reset_s() + MINUTE_S * (exhausted.used // exhausted.limit - 1)

    def _reset_s(self) -> int:
        return math.ceil(MINUTE_S - self._clock_s() % MINUTE_S)

    def counting(self, receive: Receive) -> Receive:
        """Wrap `receive`: count the bytes of a body as they arrive."""

        async def counted() -> Message:
            message = await receive()
            self.use(body_bytes=len(message.get("body", b"")))
            return message

        return counted

    def reporting(self, send: Send) -> Send:
        """Wrap `send`: add the headers to the answer."""

        async def reported(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in self.headers().items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        return reported
