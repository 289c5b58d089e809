"""Callers' words and keys are in no log of a server: neither of requests that it answers nor of any that fail."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import httpx2
import pytest

from tests.serve.raw_http import exchange, request
from tests.serve.server import Server

pytestmark = pytest.mark.serve

CANARY = "canary5f3a"
RESTARTED_S = 120.0
ESCAPED = json.dumps(CANARY)
PAIR = {"sentence_1": f"{CANARY} 하나", "sentence_2": f"{CANARY} 둘"}
QUESTION = {"question": f"{CANARY}?", "context": f"{CANARY}는 산이다. " * 40}
CHAT = {"prompt": f"{CANARY}?", "api_key": f"sk-{CANARY}", "db_path": "vector_store/"}
BODIES = {
    "/pred/sentences/": PAIR,
    "/generate": {"passage": f"The {CANARY} sings."},
    "/api": QUESTION,
    "/chat/": CHAT,
    "/v1/chat": CHAT,
}
HEADERS = {
    "Authorization": f"Bearer {CANARY}",
    "Cookie": f"session={CANARY}",
    "X-API-Key": CANARY,
    "Referer": f"https://{CANARY}.example",
}


def send_all(url: str) -> list[int]:
    """Good and bad requests on every route, all with the canary. Returns their statuses."""
    with httpx2.Client(base_url=url, headers=HEADERS, timeout=60) as client:
        answers = [client.get(f"/{CANARY}?{CANARY}={CANARY}"), client.get(f"/healthz?{CANARY}")]
        for path, body in BODIES.items():
            answers.append(client.post(f"{path}?{CANARY}", json=body))
            answers.append(client.post(path, json=body, headers={"X-Timeout-Seconds": "0.001"}))
            answers.append(client.post(path, json=body | {next(iter(body)): [CANARY]}))
            answers.append(client.post(path, json=body | {next(iter(body)): CANARY * 2_000}))
            answers.append(
                client.post(path, content=json.dumps(body)[:-9], headers={"Content-Type": "application/json"})
            )
        rows = json.dumps([{"idx": 1, "sentence1": CANARY, "sentence2": CANARY}])
        files = [{"file": (f"{CANARY}.json", text)} for text in (rows, rows[:-3], rows.replace("idx", CANARY))]
        answers += [client.post("/pred/file/", files=one) for one in files]
    return [answer.status_code for answer in answers]


def kill_under_way(server: Server, deployment: str) -> None:
    """Kill all replicas of a deployment while requests with the canary are in them, and wait for new ones."""
    answered = Event()

    def send() -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            for path in ("/pred/sentences/", "/api") * 3:
                with suppress(httpx2.TransportError):  # the connection may break with the process
                    client.post(path, json=BODIES[path])
                answered.set()

    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(send) for _ in range(8)]
        assert answered.wait(60)
        for replica in server.replicas(deployment):
            replica.kill()
        for one in sent:
            one.result()
    until_s = time.monotonic() + RESTARTED_S
    while not server.replicas(deployment) or httpx2.get(f"{server.url}/readyz", timeout=60).status_code != 200:
        assert time.monotonic() < until_s, server.output


def test_no_log_repeats_what_callers_send(server: Server) -> None:
    statuses = send_all(server.url)
    assert {200, 400, 404, 413, 422, 504} <= set(statuses)
    exchange(server.url, request("POST", f"/{CANARY}", {"X-Large": CANARY * 200_000}, ESCAPED.encode()))
    exchange(server.url, f"{CANARY} / HTTP/9\r\n\r\n".encode())
    for deployment in ("QaExtractor", "StsTokenizer", "Ingress"):
        kill_under_way(server, deployment)
    repeated = {name: line for name, line in lines_of(server) if CANARY in line}
    assert not repeated


def lines_of(server: Server) -> Iterator[tuple[str, str]]:
    for name, content in server.logs().items():
        for line in content.splitlines():
            yield Path(name).name, line
