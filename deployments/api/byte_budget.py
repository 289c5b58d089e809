"""A budget of bytes and requests for all bodies that an ingress replica works on."""

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
            self._budget.refuse(size - self.size)
            self._budget.bytes += size - self.size
            self.size = size


class ByteBudget:
    """Counts bytes as they arrive, so that a client that only announces a body takes nothing from others.

    max_bytes     bytes of all bodies together; a larger body is read alone
    max_requests  requests in work at the same time
    """

    def __init__(self, max_bytes: int, max_requests: int) -> None:
        self._max_bytes, self._max_requests = max_bytes, max_requests
        self.bytes = 0
        self.requests = 0
        self._seconds_each = 0.0

    @contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Yield an empty reservation, and return its bytes at the end."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.bytes -= reservation.size

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count a request, whose body has arrived, for the time of its work. Raises Overloaded."""
        if self.requests >= self._max_requests:
            raise self._refusal()
        self.requests += 1
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self.requests -= 1
            self._seconds_each += SMOOTHING * (time.monotonic() - begun_s - self._seconds_each)

    def refuse(self, size: int) -> None:
        """Raise Overloaded if `size` more bytes would exceed the budget."""
        if self.bytes and self.bytes + size > self._max_bytes:
            raise self._refusal()

    def _refusal(self) -> Overloaded:
        """Of several requests in work, one should end in the mean time of a request divided by their number."""
        return Overloaded(max(1.0, self._seconds_each / max(1, self.requests)))
