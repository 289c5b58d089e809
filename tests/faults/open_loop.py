"""A client that sends pairs at a fixed rate, whatever the answers, and checks that each answer is its own."""

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

TIMEOUT_S = 70.0
Body = Callable[[int], dict[str, str]]


def pair(number: int) -> dict[str, str]:
    """A pair that no other number has."""
    return {
        "sentence_1": f"{number}번째 문장은 오늘 날씨 이야기다.",
        "sentence_2": f"내일 회의는 {number}시에 시작한다.",
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. The status is 0 if there was no answer; `seconds` is from its planned start on."""

    number: int
    at_s: float
    seconds: float
    status: int
    own: bool
    error: str = ""


class OpenLoop:
    """Sends requests in a thread of its own until it is stopped.

    rate     requests in a second
    retries  how often a request without an answer of status 200 is sent again
    """

    def __init__(self, url: str, rate: float, path: str, body: Body, retries: int) -> None:
        self.outcomes: list[Outcome] = []
        self._url, self._rate, self._path, self._body, self._retries = url, rate, path, body, retries
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()))

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for all answers."""
        self._stopping.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until this many more requests have an outcome."""
        wanted, until_s = len(self.outcomes) + more, time.monotonic() + 10 + 20 * more / self._rate
        while len(self.outcomes) < wanted:
            assert time.monotonic() < until_s, f"{len(self.outcomes)} outcomes, waiting for {wanted}"
            time.sleep(0.02)

    async def _send_all(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50)
        begun_s = time.monotonic()
        client = httpx2.AsyncClient(base_url=self._url, timeout=TIMEOUT_S, limits=limits)
        async with client, asyncio.TaskGroup() as requests:
            number = 0
            while not self._stopping.is_set():
                planned_s = begun_s + number / self._rate
                await asyncio.sleep(max(0, planned_s - time.monotonic()))
                requests.create_task(self._send(client, number, planned_s))
                number += 1

    async def _send(self, client: httpx2.AsyncClient, number: int, planned_s: float) -> None:
        body, status, own, error = self._body(number), 0, False, ""
        for _ in range(1 + self._retries):
            try:
                answer = await client.post(self._path, json=body)
                status, own, error = answer.status_code, _is_own(body, answer), answer.text[:200]
            except httpx2.TransportError as failure:
                status, own, error = 0, False, type(failure).__name__
            if status == 200:
                break
        now_s = time.monotonic()
        self.outcomes.append(Outcome(number, now_s, now_s - planned_s, status, own, "" if status == 200 else error))


def _is_own(body: dict[str, str], answer: httpx2.Response) -> bool:
    if answer.status_code != 200:
        return answer.headers.get("content-type") == "application/problem+json"
    answered: dict[str, Any] = answer.json()
    return all(answered[name] == value for name, value in body.items())


@contextmanager
def open_loop(
    url: str, rate: float = 20.0, path: str = "/pred/sentences/", body: Body = pair, retries: int = 0
) -> Iterator[OpenLoop]:
    """Yield a client that sends until the end of the block, and then waits for all answers."""
    loop = OpenLoop(url, rate, path, body, retries)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def figures(outcomes: list[Outcome]) -> dict[str, Any]:
    """Requests, statuses, and latencies of the good ones in milliseconds."""
    good = sorted(outcome.seconds for outcome in outcomes if outcome.status == 200)
    return {
        "requests": len(outcomes),
        "statuses": dict(Counter(outcome.status for outcome in outcomes)),
        "p50_ms": percentile_ms(good, 0.5),
        "p99_ms": percentile_ms(good, 0.99),
        "max_ms": percentile_ms(good, 1.0),
    }


def percentile_ms(ordered_s: list[float], share: float) -> float:
    """The value below which this share of the ordered times lies (nearest rank), in milliseconds; NaN for none."""
    if not ordered_s:
        return math.nan
    return round(1000 * ordered_s[max(0, math.ceil(share * len(ordered_s)) - 1)], 1)


def all_good(outcomes: list[Outcome]) -> bool:
    """Whether each request has its own answer with status 200."""
    return all(outcome.status == 200 and outcome.own for outcome in outcomes)
