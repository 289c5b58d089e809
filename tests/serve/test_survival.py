"""What a dying replica takes along: nothing that the caller notices."""

import threading

import httpx2
import psutil
import pytest

from tests.serve.server import Server

pytestmark = pytest.mark.serve


@pytest.mark.parametrize("deployment", ["StsEncoder", "StsTokenizer"])
def test_no_request_is_lost_when_a_replica_is_killed(server: Server, deployment: str) -> None:
    outcomes: list[int] = []
    halfway, victim = threading.Event(), server.replica(deployment)

    def ask() -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            for number in range(150):
                body = {"sentence_1": f"문장 {number}", "sentence_2": "다른 문장"}
                outcomes.append(client.post("/pred/sentences/", json=body).status_code)
                if number == 50:
                    halfway.set()

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert halfway.wait(60)
    victim.kill()
    for caller in callers:
        caller.join(120)
    assert outcomes == [200] * 600
    assert not psutil.pid_exists(victim.pid) or victim.status() == psutil.STATUS_ZOMBIE
    assert server.replica(deployment).pid != victim.pid
