"""A replica that dies is not noticed by any caller."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psutil
import pytest

from tests.serve.server import Server

pytestmark = pytest.mark.serve

BUSY_S = 0.1
REPEATED = "QaExtractor: a replica was lost during a call"
LONG = "강가의 마을에서는 봄마다 작은 장이 서고 사람들이 모여 이야기를 나눈다. " * 200


def wait_until_busy(process: psutil.Process) -> None:
    """Wait until the process has used `BUSY_S` more seconds of CPU time. Without a call it uses none."""
    before = process.cpu_times().user
    while process.cpu_times().user < before + BUSY_S:
        pass


def test_a_call_to_a_model_replica_that_is_killed_is_repeated(server: Server) -> None:
    victim, repeated = server.replica("QaExtractor"), server.output.count(REPEATED)
    body = {"question": "장은 언제 서는가?", "context": LONG}
    with ThreadPoolExecutor(1) as thread, httpx2.Client(base_url=server.url, timeout=120) as client:
        answer = thread.submit(client.post, "/api", json=body)
        wait_until_busy(victim)
        victim.kill()
        response = answer.result()
        assert response.status_code == 200
        assert response.json()["answer"]
        assert response.json() == client.post("/api", json=body).json()
    server.wait_for(lambda output: output.count(REPEATED) > repeated)
    assert server.output.count(REPEATED) == repeated + 1
    assert server.replica("QaExtractor").pid != victim.pid


def test_no_request_is_lost_when_a_tokenizer_is_killed_under_load(server: Server) -> None:
    statuses: list[int] = []
    under_load, victim = threading.Event(), server.replica("StsTokenizer")

    def ask() -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            for number in range(150):
                body = {"sentence_1": f"문장 {number}", "sentence_2": "다른 문장"}
                statuses.append(client.post("/pred/sentences/", json=body).status_code)
                if number == 50:
                    under_load.set()

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert under_load.wait(60)
    victim.kill()
    for caller in callers:
        caller.join(120)
    assert statuses == [200] * 600
    assert server.replica("StsTokenizer").pid != victim.pid
