"""Processes that die or stop answering under load. Two replicas of each deployment serve on."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx2
import psutil
import pytest

from deployments.workers.fork_server import TITLE
from tests.faults.conftest import Report
from tests.faults.open_loop import all_good, figures, open_loop
from tests.serve.server import Server

pytestmark = pytest.mark.faults

RECOVERED_S = 60.0
BUSY_S = 0.1
LONG = "강가의 마을에서는 봄마다 작은 장이 서고 사람들이 모여 이야기를 나눈다. " * 4000


def wait_until(condition: Callable[[], bool], within_s: float = RECOVERED_S) -> float:
    """Wait until the condition holds. Returns the seconds that it took."""
    begun_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begun_s < within_s, f"not within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - begun_s


def replaced(graph: Server, deployment: str, victim: psutil.Process) -> bool:
    pids = [replica.pid for replica in graph.replicas(deployment)]
    return victim.pid not in pids and len(pids) >= 2


def titled(graph: Server, title: str) -> list[psutil.Process]:
    """The processes of the tree whose command line begins with the title."""
    found = []
    for process in graph.processes():
        try:
            found += [process] if " ".join(process.cmdline()).startswith(title) else []
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("deployment", ["Ingress", "StsTokenizer", "StsEncoder"])
def test_nothing_is_lost_when_a_replica_is_killed(graph: Server, report: Report, deployment: str) -> None:
    with open_loop(graph.url) as load:
        load.wait_for(40)
        victim = graph.replica(deployment)
        victim.kill()
        recovered_s = wait_until(lambda: replaced(graph, deployment, victim))
        load.wait_for(60)
    report(**figures(load.outcomes), new_process_s=round(recovered_s, 1))
    assert all_good(load.outcomes)


def test_requests_keep_their_deadline_when_a_replica_hangs_and_it_is_replaced(graph: Server, report: Report) -> None:
    with open_loop(graph.url) as load:
        load.wait_for(40)
        victim = graph.replica("StsEncoder")
        victim.send_signal(signal.SIGSTOP)
        recovered_s = wait_until(lambda: replaced(graph, "StsEncoder", victim))
        load.wait_for(60)
    report(**figures(load.outcomes), new_process_s=round(recovered_s, 1))
    assert {outcome.status for outcome in load.outcomes} <= {200, 504}
    assert max(outcome.seconds for outcome in load.outcomes) < 51
    assert all(outcome.own for outcome in load.outcomes)


@contextmanager
def slowed(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Let the processes run for 5 ms of every 100 ms."""
    stopping = threading.Event()

    def alternate() -> None:
        while not stopping.wait(0.005):
            for process in processes:
                process.suspend()
            stopping.wait(0.095)
            for process in processes:
                process.resume()

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_a_model_that_is_twenty_times_slower_keeps_deadlines_and_harms_no_other_task(
    graph: Server, report: Report
) -> None:
    with open_loop(graph.url) as alone, open_loop(graph.url, 5, "/api", question) as questions_alone:
        questions_alone.wait_for(100)
    slower = slowed(graph.replicas("StsEncoder"))
    with open_loop(graph.url) as slow, slower, open_loop(graph.url, 5, "/api", question) as beside:
        beside.wait_for(150)
    report(pairs_alone=figures(alone.outcomes), pairs_slow=figures(slow.outcomes))
    report(questions_alone=figures(questions_alone.outcomes), questions_beside=figures(beside.outcomes))
    assert {outcome.status for outcome in slow.outcomes} <= {200, 429, 504}
    assert max(outcome.seconds for outcome in slow.outcomes) < 51
    assert all(outcome.own for outcome in slow.outcomes)
    assert all_good(beside.outcomes)


def question(number: int) -> dict[str, str]:
    """A short question that no other number has."""
    return {"question": f"{number}번 상자에는 무엇이 있나요?", "context": f"{number}번 상자에는 사과가 있다."}


def test_no_request_fails_while_the_controller_is_killed_and_the_replicas_stay(graph: Server, report: Report) -> None:
    before = {replica.pid for replica in graph.replicas()}
    with open_loop(graph.url) as load:
        load.wait_for(40)
        (controller,) = titled(graph, "ray::ServeController")
        controller.kill()
        recovered_s = wait_until(
            lambda: any(process != controller for process in titled(graph, "ray::ServeController"))
        )
        load.wait_for(20 * 30)
    report(**figures(load.outcomes), new_process_s=round(recovered_s, 1))
    assert all_good(load.outcomes)
    assert {replica.pid for replica in graph.replicas()} == before


def test_the_proxy_is_started_again_when_it_is_killed(graph: Server, report: Report) -> None:
    for process in graph.processes():
        if process.name() == "haproxy":
            process.kill()
    recovered_s = wait_until(lambda: answers(graph.url))
    with open_loop(graph.url) as load:
        load.wait_for(40)
    report(**figures(load.outcomes), recovered_s=round(recovered_s, 1))
    assert recovered_s < 15
    assert all_good(load.outcomes)


def test_a_request_that_kills_replicas_is_answered_503_after_two(graph: Server, report: Report) -> None:
    body = {"question": "장은 언제 서는가?", "context": LONG}
    used = {replica: replica.cpu_times().user for replica in graph.replicas("QaExtractor")}
    killed = 0
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(httpx2.post, f"{graph.url}/api", json=body, timeout=60)
        while not answer.done():
            for replica in graph.replicas("QaExtractor"):
                with suppress(psutil.NoSuchProcess):
                    if replica.cpu_times().user > used.setdefault(replica, replica.cpu_times().user) + BUSY_S:
                        replica.kill()
                        killed += 1
    report(status=answer.result().status_code, killed=killed)
    assert answer.result().status_code == 503
    assert killed == 2
    short = body | {"context": "봄에 선다."}
    wait_until(lambda: httpx2.post(f"{graph.url}/api", json=short, timeout=60).status_code == 200)


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx2.TransportError:
        return False


def test_replicas_start_when_the_process_they_were_forked_from_is_gone(graph: Server, report: Report) -> None:
    (fork_server,) = titled(graph, TITLE)
    fork_server.kill()
    with open_loop(graph.url) as load:
        load.wait_for(40)
        victim = graph.replica("StsTokenizer")
        victim.kill()
        recovered_s = wait_until(lambda: replaced(graph, "StsTokenizer", victim))
        load.wait_for(60)
    report(**figures(load.outcomes), new_process_s=round(recovered_s, 1))
    assert all_good(load.outcomes)
