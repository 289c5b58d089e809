"""A circuit breaker: who keeps failing is left alone for a while (Nygard, Release It!, 2nd ed. 2018, chapter 5;
https://martinfowler.com/bliki/CircuitBreaker.html)."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.errors import MunjangError, ProviderSuspended

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Closed, everything passes. After `failures` in a row it is open, and nothing does. `open_s` later it is half
    open: one call passes as a trial, whose success closes it and whose failure opens it again.

    counts  the errors that are failures; with any other of the project's tree the callee has answered

    One event loop's own. A call that is cancelled, or ends with a fault of this program, says nothing about the
    callee, and changes nothing.
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
        """Around a call. Raises ProviderSuspended, without the call, while the circuit is open."""
        trial = self._admit()
        try:
            yield
        except self._counts:
            self._fail(trial)
            raise
        except MunjangError:
            self._succeed()
            raise
        else:
            self._succeed()
        finally:
            self._trying &= not trial

    def _admit(self) -> bool:
        """Whether the call is the trial of a half-open circuit."""
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
            logger.warning("the provider failed %d times in a row, not asked for %g s", self._failures, self._open_s)

    def _succeed(self) -> None:
        if self._failures >= self._threshold:
            logger.info("the provider answers again")
        self._failures = 0
