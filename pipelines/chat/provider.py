"""Requests to a language-model provider that may be slow, full or down: deadlines, retries and a circuit breaker."""

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from pydantic import SecretStr

from pipelines.chat.circuit_breaker import CircuitBreaker
from pipelines.chat.completions import Completions
from pipelines.chat.prompt import Message
from pipelines.chat.settings import ProviderSettings
from pipelines.errors import ProviderError, ProviderFailed, ProviderOverloaded, ProviderTimedOut

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0  # where the provider asks for a longer pause, the caller gets the error at once

Result = TypeVar("Result")


class Provider:
    """A provider, asked with each caller's own key, which is kept only for the request.

    `complete` and `stream` raise ProviderError.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._completions = Completions(settings)
        self._breaker = CircuitBreaker(
            failures=settings.failures_to_open, open_s=settings.open_s, counts=(ProviderFailed, ProviderTimedOut)
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._completions.close()

    async def complete(self, messages: Sequence[Message], key: SecretStr) -> str:
        """Return the whole answer."""
        with self._breaker.guard():
            return await self._with_retries(lambda: self._completions.whole(messages, key))

    async def stream(self, messages: Sequence[Message], key: SecretStr) -> AsyncGenerator[str]:
        """Yield the answer in pieces as they arrive. Closing the iterator or cancelling closes the connection."""
        until_s = _now_s() + self._settings.stream_timeout_s
        with self._breaker.guard():
            pieces, piece = await self._with_retries(lambda: self._begin(messages, key))
        async with aclosing(pieces):
            while piece is not None:
                yield piece
                piece = await _await_until(min(until_s, _now_s() + self._settings.timeout_s), anext(pieces, None))

    async def _begin(self, messages: Sequence[Message], key: SecretStr) -> tuple[AsyncGenerator[str], str | None]:
        """Open a stream and wait for its first piece: a failure before that may still be retried."""
        pieces = self._completions.pieces(messages, key)
        return pieces, await anext(pieces, None)

    async def _with_retries(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `ask` returns. Failures that may be temporary are retried while time is left."""
        until_s = _now_s() + self._settings.timeout_s
        for attempt in itertools.count():
            try:
                return await _await_until(until_s, ask())
            except ProviderError as error:
                pause_s = self._pause_s(attempt, error)
                if pause_s is None or _now_s() + pause_s >= until_s:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    def _pause_s(self, attempt: int, error: ProviderError) -> float | None:
        """Seconds until the next attempt; None where there is none.

        The pause grows with each attempt. It is random, so that callers do not retry at the same moment.
        """
        if attempt >= self._settings.max_retries:
            return None
        pause_s = FIRST_PAUSE_S * (1 << attempt) * random.uniform(0.5, 1.0)
        match error:
            case ProviderFailed():
                return pause_s
            case ProviderOverloaded() if error.retry_after_s <= LONGEST_PAUSE_S:
                return max(pause_s, error.retry_after_s)
        return None


async def _await_until(until_s: float, result: Awaitable[Result]) -> Result:
    """Await the result. Raises ProviderTimedOut at the time `until_s` of the event loop's clock."""
    try:
        async with asyncio.timeout_at(until_s):
            return await result
    except TimeoutError:
        pass
    raise ProviderTimedOut


def _now_s() -> float:
    return asyncio.get_running_loop().time()
