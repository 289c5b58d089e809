import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from benchmarks.clients import FastApiClient, session
from benchmarks.loads import Ask, all_singly, arrivals, closed_loop, during, open_loop
from benchmarks.pairs import Pair

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PAIRS = [(f"왼쪽 {number}", f"오른쪽 {number}") for number in range(1000)]


@asynccontextmanager
async def asking(handler: Handler) -> AsyncIterator[Ask]:
    """A client of a server that answers /score with `handler`."""
    app = web.Application()
    app.router.add_post("/score", handler)
    async with TestServer(app) as server, ClientSession(server.make_url("/")) as session:
        yield FastApiClient(session).score


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert list(during(arrivals(4), 1.0)) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_have_the_rate_and_depend_only_on_the_seed() -> None:
    times = list(itertools.islice(arrivals(50, seed=1), 20_000))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(20_000 / 50, rel=0.05)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert sum(gap > 1 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)  # exp(-1)
    assert times == list(itertools.islice(arrivals(50, seed=1), 20_000))
    assert times != list(itertools.islice(arrivals(50, seed=2), 20_000))


def test_open_loop_measures_latency_from_when_a_request_was_due() -> None:
    """The server answers only after the last request, so requests due earlier have waited for that time."""

    async def run() -> list[float]:
        arrived = itertools.count(1)
        all_here = asyncio.Event()

        async def handler(request: web.Request) -> web.Response:
            if next(arrived) == 4:
                all_here.set()
            await all_here.wait()
            return web.json_response({"score": 0.5})

        async with asking(handler) as ask:
            outcome = await open_loop(ask, iter(PAIRS), [-3.0, -2.0, -1.0, 0.0], patience_s=30)
        assert (outcome.refused, outcome.unanswered, outcome.in_time) == (0, 0, 4)
        return sorted(outcome.latencies)

    latencies = asyncio.run(run())
    assert all(latency >= due for latency, due in zip(latencies, [0.0, 1.0, 2.0, 3.0], strict=True))


def test_open_loop_counts_unanswered_requests_with_the_time_they_waited() -> None:
    async def run() -> None:
        async def handler(request: web.Request) -> web.Response:
            pair = await request.json()
            if pair["sentence_1"] == PAIRS[0][0]:
                await asyncio.Event().wait()
            return web.json_response({"score": 0.5})

        async with asking(handler) as ask:
            outcome = await open_loop(ask, iter(PAIRS), [0.0, 0.0], patience_s=1.0)
        assert (outcome.unanswered, outcome.in_time) == (1, 1)
        assert len(outcome.latencies) == 2
        assert max(outcome.latencies) >= 1.0

    asyncio.run(run())


def test_refusals_are_counted_and_have_no_latency() -> None:
    async def run() -> None:
        numbers = itertools.count()

        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"score": 0.5}, status=429 if next(numbers) % 2 else 200)

        async with asking(handler) as ask:
            outcome = await open_loop(ask, iter(PAIRS), [0.0] * 10, patience_s=30)
        assert (outcome.refused, outcome.in_time, len(outcome.latencies)) == (5, 5, 5)

    asyncio.run(run())


def test_a_failure_of_the_server_ends_the_load() -> None:
    async def run() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response({}, status=500)

        async with asking(handler) as ask:
            with pytest.raises(RuntimeError, match="500"):
                await open_loop(ask, iter(PAIRS), [0.0], patience_s=30)

    asyncio.run(run())


def test_closed_loop_has_as_many_requests_in_flight_as_callers() -> None:
    async def run() -> int:
        inside, most = 0, 0

        async def ask(_: Pair) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

        outcome = await closed_loop(ask, itertools.cycle(PAIRS), callers=7, seconds=0.5)
        assert outcome.in_time > 7
        assert abs(len(outcome.latencies) - outcome.in_time) <= 7  # in flight at the beginning, and at the end
        return most

    assert asyncio.run(run()) == 7


def test_a_file_sent_singly_keeps_its_order_and_repeats_refused_requests() -> None:
    async def run() -> None:
        seen: set[str] = set()

        async def handler(request: web.Request) -> web.Response:
            left = (await request.json())["sentence_1"]
            new = left not in seen
            seen.add(left)
            return web.json_response({"score": float(left.split()[1])}, status=503 if new else 200)

        async with asking(handler) as ask:
            assert await all_singly(ask, PAIRS[:20], in_flight=4) == list(range(20))

    asyncio.run(run())


def test_several_servers_are_asked_in_turn() -> None:
    async def run() -> None:
        def answering(score: float) -> web.Application:
            async def handler(_: web.Request) -> web.Response:
                return web.json_response({"score": score})

            app = web.Application()
            app.router.add_post("/score", handler)
            return app

        async with (
            TestServer(answering(0.0)) as one,
            TestServer(answering(1.0)) as other,
            session(str(one.make_url("/")), str(other.make_url("/"))) as both,
        ):
            client = FastApiClient(both)
            assert [await client.score(pair) for pair in PAIRS[:4]] == [0.0, 1.0, 0.0, 1.0]

    asyncio.run(run())
