"""Read the body of a request within limits: bytes, time without any byte, and the lowest average rate."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.types import Message, Receive

from deployments.api.byte_budget import Reservation
from deployments.api.deadlines import Deadline
from pipelines.errors import DeadlineExceeded, MalformedInput, TooLarge, TooSlow


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What the body of a request may be.

    max_bytes        most bytes
    pause_s          longest time in seconds without a byte
    min_bytes_per_s  lowest average rate, after the first `pause_s` seconds
    """

    max_bytes: int
    pause_s: float
    min_bytes_per_s: float


async def pieces_of_body(receive: Receive, limits: BodyLimits, until: Deadline) -> AsyncGenerator[bytes]:
    """Yield the body piece by piece.

    Raises TooLarge, TooSlow, DeadlineExceeded, and MalformedInput if the client disconnects before the end.
    """
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    size, more = 0, True
    while more:
        slowest_s = begun_s + limits.pause_s + size / limits.min_bytes_per_s
        message = await _receive_before(receive, min(loop.time() + limits.pause_s, slowest_s), until)
        if message["type"] == "http.disconnect":
            raise MalformedInput("the client disconnected within the body")
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > limits.max_bytes:
            raise TooLarge("the body", limits.max_bytes, "bytes")
        yield piece


async def read_body(receive: Receive, limits: BodyLimits, reservation: Reservation, until: Deadline) -> bytes:
    """Return the whole body.

    Raises TooLarge, TooSlow, DeadlineExceeded, Overloaded if the reservation can't grow with the body, and
    MalformedInput if the client disconnects before the end.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in pieces_of_body(receive, limits, until):
        size += len(piece)
        reservation.grow_to(size)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _receive_before(receive: Receive, at_s: float, until: Deadline) -> Message:
    try:
        async with asyncio.timeout_at(min(at_s, until.at_s)):
            return await receive()
    except TimeoutError:
        raise (TooSlow() if at_s < until.at_s else DeadlineExceeded(until.allowed_s)) from None


def replaying(body: bytes, receive: Receive) -> Receive:
    """Wrap `receive`: return first the whole body as one message, then what the connection sends, its end.

    The body is freed as soon as it has been received again.
    """
    replayed: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return replayed.pop() if replayed else await receive()

    return replay
