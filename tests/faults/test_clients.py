"""Clients that misbehave in great number, and more load than the graph can answer."""

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from tests.faults.conftest import Report
from tests.faults.open_loop import all_good, figures, open_loop, pair, percentile_ms
from tests.serve.raw_http import request
from tests.serve.server import Server

pytestmark = pytest.mark.faults

JSON = {"Content-Type": "application/json"}
CLOSED_WITHIN_S = 15.0
FILLER = "강가의 마을에서는 봄마다 작은 장이 서고 사람들이 모여 이야기를 나눈다. "


def connect(graph: Server) -> socket.socket:
    address = urlsplit(graph.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def descriptors(graph: Server) -> int:
    """Open file descriptors of HAProxy and all replicas."""
    haproxy = [process for process in graph.processes() if process.name() == "haproxy"]
    return sum(process.num_fds() for process in [*graph.replicas(), *haproxy])


def memory(graph: Server) -> int:
    """Bytes that the replicas of the ingress have in memory."""
    return sum(replica.memory_info().rss for replica in graph.replicas("Ingress"))


def latencies_s(graph: Server, count: int) -> list[float]:
    found = []
    with httpx2.Client(base_url=graph.url, timeout=60) as client:
        for number in range(count):
            begun_s = time.monotonic()
            assert client.post("/pred/sentences/", json=pair(number)).status_code == 200
            found.append(time.monotonic() - begun_s)
    return sorted(found)


def test_memory_of_a_request_whose_body_does_not_come_is_small(graph: Server, report: Report) -> None:
    """It comes first in this file: later, memory that others have left is used again."""
    haproxy = max((p for p in graph.processes() if p.name() == "haproxy"), key=psutil.Process.create_time)
    latencies_s(graph, 50)
    before = haproxy.memory_info().rss, memory(graph)
    started = request("POST", "/pred/sentences/", JSON, length=50)
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(connect(graph)).sendall(started)
        latencies_s(graph, 1)  # sent after the others, so these have been read
        grown = haproxy.memory_info().rss - before[0], memory(graph) - before[1]
    report(haproxy_bytes_for_each=grown[0] // 500, ingress_bytes_for_each=grown[1] // 500)
    assert grown[0] < 500 * 2**17
    assert grown[1] < 500 * 2**17


def test_clients_that_hang_up_leave_nothing_behind(graph: Server, report: Report) -> None:
    latencies_s(graph, 50)
    sent = request("POST", "/pred/sentences/", JSON, b'{"sentence_1": "a", "sentence_2": "b"}')

    def hang_up(_: int) -> None:
        with connect(graph) as connection:
            connection.sendall(sent)

    def rounds(count: int) -> float:
        """The longest time in seconds that a request takes which is sent right after a round."""
        slowest_s = 0.0
        for _ in range(count):
            with ThreadPoolExecutor(32) as threads:
                list(threads.map(hang_up, range(500)))
            slowest_s = max(slowest_s, latencies_s(graph, 1)[0])
        return slowest_s

    rounds(2)
    before, known = (descriptors(graph), memory(graph)), len(graph.output)
    slowest_s = rounds(18)
    until_s = time.monotonic() + 15
    while descriptors(graph) > 1.05 * before[0] and time.monotonic() < until_s:
        time.sleep(0.1)
    after = descriptors(graph), memory(graph)
    assert "Request failed" not in graph.output[known:]
    report(before=before, after=after, slowest_afterwards_ms=round(1000 * slowest_s))
    assert after[0] <= 1.05 * before[0]
    assert after[1] <= 1.05 * before[1]
    assert slowest_s < 2


def test_slow_clients_do_not_harm_others_and_are_closed(graph: Server, report: Report) -> None:
    latencies_s(graph, 100)
    alone = latencies_s(graph, 400)
    with ExitStack() as open_connections:
        slow = [open_connections.enter_context(connect(graph)) for _ in range(1000)]
        for number, connection in enumerate(slow):
            begins = request("POST", "/pred/sentences/", JSON, b'{"sent', length=1000)
            connection.sendall(begins if number % 2 else begins[:40])
        begun_s = time.monotonic()
        beside = latencies_s(graph, 400)
        for connection in slow:
            connection.settimeout(CLOSED_WITHIN_S)
            while connection.recv(4096):
                pass
        closed_s = time.monotonic() - begun_s
    ratio = percentile_ms(beside, 0.99) / percentile_ms(alone, 0.99)
    report(
        p99_alone_ms=percentile_ms(alone, 0.99), p99_beside_ms=percentile_ms(beside, 0.99), ratio=round(ratio, 2),
        all_closed_s=round(closed_s, 1),
    )  # fmt: skip
    assert ratio < 3  # 1.2 is wanted; on two cores that clients and server share, chance alone gives more
    assert closed_s < CLOSED_WITHIN_S + sum(beside)


def question(number: int) -> dict[str, str]:
    """A question whose context takes a good part of a second."""
    return {
        "question": f"{number}번 상자에는 무엇이 있나요?",
        "context": FILLER * 700 + f"{number}번 상자에는 사과가 있다.",
    }


def test_ten_times_the_capacity_is_answered_at_capacity_and_refused_at_once(graph: Server, report: Report) -> None:
    def ask(number: int) -> int:
        with httpx2.Client(base_url=graph.url, timeout=60) as client:
            return client.post("/api", json=question(number)).status_code

    with ThreadPoolExecutor(8) as callers:
        begun_s = time.monotonic()
        assert Counter(callers.map(ask, range(80))) == {200: 80}
    capacity = 80 / (time.monotonic() - begun_s)
    with open_loop(graph.url, 10 * capacity, "/api", question) as load:
        load.wait_for(int(10 * capacity * 20))
        begun_s = time.monotonic()
        load.wait_for(int(10 * capacity * 20))
        seconds = time.monotonic() - begun_s
    good = [outcome for outcome in load.outcomes if outcome.status == 200 and outcome.at_s > begun_s]
    goodput = sum(outcome.at_s <= begun_s + seconds for outcome in good) / seconds
    refused = sorted(outcome.seconds for outcome in load.outcomes if outcome.status == 429)
    slowest_s = latencies_s(graph, 20)[-1]
    report(
        **figures(load.outcomes), capacity=round(capacity, 1), goodput=round(goodput, 1),
        refused_p99_ms=percentile_ms(refused, 0.99), slowest_afterwards_ms=round(1000 * slowest_s),
    )  # fmt: skip
    assert slowest_s < 5
    assert {outcome.status for outcome in load.outcomes} <= {200, 429}
    assert refused
    assert goodput >= 0.7 * capacity


def test_the_graph_recovers_from_a_burst_of_uploads(graph: Server) -> None:
    with open_loop(graph.url, rate=5) as load:
        with ThreadPoolExecutor(8) as callers:
            row = {"sentence1": FILLER, "sentence2": FILLER}
            content = httpx2.Request("POST", graph.url, json={"results": [row] * 5000}).content
            statuses = list(
                callers.map(
                    lambda _: (
                        httpx2.post(
                            f"{graph.url}/pred/file/", files={"file": ("pairs.json", content)}, timeout=300
                        ).status_code
                    ),
                    range(16),
                )
            )
        load.wait_for(10)
    assert set(statuses) <= {200, 429}
    assert 200 in statuses
    assert all_good(load.outcomes)
