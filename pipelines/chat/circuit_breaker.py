"""A circuit breaker: a service that keeps failing is not called for a while.

Nygard, Release It!, 2nd ed. 2018, chapter 5; https://martinfowler.com/bliki/CircuitBreaker.html.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.errors import ProviderSuspended

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """A guard around calls to one service.

    While the circuit is closed, every call passes. After `failures` failures in a row it opens, and no call passes.
    `open_s` seconds later it is half open: one call passes as a trial. The trial's success closes the circuit, its
    failure opens it again.

    counts  the error classes that count as failures

    An instance belongs to one event loop. A call that ends in any other way says nothing about the service and changes
    nothing: with a refusal, such as that of a caller's key, with a bug of this program, or cancelled.
    """

    def __init__(
        self,
        *,
        failures: int,
        open_s: float,
        counts: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = failures
        self._open_s = open_s
        self._counts = counts
        self._clock = clock
        self._failures = 0
        self._opened_s = 0.0
        self._trying = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Make the call within this context. Raises ProviderSuspended on entry while the circuit is open."""
        trial = self._admit()
        try:
            yield
        except self._counts:
            self._fail(trial)
            raise
        else:
            self._succeed()
        finally:
            self._trying &= not trial

    def _admit(self) -> bool:
        """Return whether the call is the trial of a half-open circuit. Raises ProviderSuspended while it is open."""
        if self._failures < self._threshold:
            return False
        left_s = self._opened_s + self._open_s - self._clock()
        if left_s > 0 or self._trying:
            raise ProviderSuspended(max(left_s, 1.0))
        self._trying = True
        return True

    def _fail(self, trial: bool) -> None:
        self._failures += 1
        if trial or self._failures == self._threshold:
            self._opened_s = self._clock()
            logger.warning(
                "the provider failed %d times in a row; no request is sent to it for %g s", self._failures, self._open_s
            )

    def _succeed(self) -> None:
        if self._failures >= self._threshold:
            logger.info("the provider answers again")
        self._failures = 0
