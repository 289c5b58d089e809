"""A budget of bytes for the bodies of all requests that an ingress replica works on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import Overloaded

SMOOTHING = 0.2


class Reservation:
    """The bytes that one request has taken from a budget."""

    def __init__(self, budget: "ByteBudget") -> None:
        self._budget = budget
        self.size = 0

    def grow_to(self, size: int) -> None:
        """Take bytes until the reservation has `size` bytes. Raises Overloaded, and takes none, if too few are left."""
        if size > self.size:
            self._budget.take(size - self.size)
            self.size = size


class ByteBudget:
    """Counts bytes, and refuses requests that would exceed the budget. A body larger than the budget is read alone.

    max_bytes     bytes of all bodies together
    max_requests  requests with a reservation at the same time
    """

    def __init__(self, max_bytes: int, max_requests: int) -> None:
        self._max_bytes, self._max_requests = max_bytes, max_requests
        self.bytes = 0
        self.requests = 0
        self._seconds_held = 0.0

    @contextmanager
    def reserve(self, size: int) -> Iterator[Reservation]:
        """Yield a reservation of `size` bytes, and return its bytes at the end. Raises Overloaded."""
        if self.requests >= self._max_requests:
            raise self._refusal()
        reservation = Reservation(self)
        reservation.grow_to(size)
        self.requests += 1
        begun_s = time.monotonic()
        try:
            yield reservation
        finally:
            self.requests -= 1
            self.bytes -= reservation.size
            self._seconds_held += SMOOTHING * (time.monotonic() - begun_s - self._seconds_held)

    def take(self, size: int) -> None:
        """Take `size` bytes. Raises Overloaded if the budget does not have them."""
        if self.bytes and self.bytes + size > self._max_bytes:
            raise self._refusal()
        self.bytes += size

    def _refusal(self) -> Overloaded:
        """Some request should have ended after the mean time that a request takes."""
        return Overloaded(max(1.0, self._seconds_held))
