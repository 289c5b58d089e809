"""Persona chat over real HTTP, without a provider and with a scripted provider."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from pipelines.chat.sample import PERSONA
from tests.openai_server import Endless, ErrorInStream, Hang, OpenAiServer, Refuse, Say
from tests.openai_server import running as provider_running
from tests.serve.server import Server, environment, running, write_config

pytestmark = pytest.mark.serve

KEY = "sk-canary-91e4c7"
ASKED = {"prompt": "생일이 언제예요?", "api_key": KEY, "db_path": "vector_store/"}
PAIR = {"sentence_1": "오늘 과제는 코딩 과제입니다.", "sentence_2": "오늘 과제는 논문 리딩 과제입니다."}
EVENTS = {"Accept": "text/event-stream"}
WAIT_S = 20
PROVIDER_TIMEOUT_S = 6  # long enough for all hanging requests to arrive
HANGING = 40
INVALID_DATE = "Wed, 21 Oct 99999999999 07:28:00 GMT"
UNBUFFERED = {"RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1"}  # every log line is written at once
REJECTED = b"a chat failed: the language-model provider rejected the request (status 400)"


@pytest.fixture(scope="module")
def started() -> Iterator[OpenAiServer]:
    with provider_running() as server:
        yield server


@pytest.fixture
def provider(started: OpenAiServer) -> OpenAiServer:
    started.script()
    return started


@pytest.fixture(scope="module")
def generating(started: OpenAiServer, tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Iterator[Server]:
    """Another server, with a provider that answers its chats."""
    asked = {
        "base_url": started.url,
        "model": "tiny",
        "timeout_s": PROVIDER_TIMEOUT_S,
        "stream_timeout_s": PROVIDER_TIMEOUT_S,
        "max_retries": 1,
        "failures_to_open": 1000,
    }
    config = write_config(tmp_path_factory.mktemp("chat"), chat={"stores": str(stores), "provider": asked})
    with running(config, environment(**UNBUFFERED)) as generating:
        yield generating


@pytest.fixture
def asking(generating: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=generating.url, timeout=60) as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of each event of a stream."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block.get("event", "message"), json.loads(block["data"])) for block in blocks]


@pytest.mark.parametrize("path", ["/chat/", "/chat"])
def test_without_a_provider_the_answer_is_a_sentence_of_the_persona(client: httpx2.Client, path: str) -> None:
    response = client.post(path, json=ASKED)
    assert response.status_code == 200
    assert list(response.json()) == ["output"]
    assert "1991년 11월 7일" in response.json()["output"]
    (cited,) = json.loads(response.headers["X-Citations"])
    document = (PERSONA / cited["document"]).read_text(encoding="utf-8")
    assert document[cited["start"] : cited["end"]] == response.json()["output"]
    assert client.post("/v1/chat", json=ASKED).json() == response.json() | {"citations": [cited]}
    streamed = events(client.post(path, json=ASKED, headers=EVENTS).text)
    assert streamed == [("message", response.json()), ("done", {"citations": [cited]})]


@pytest.mark.parametrize("db_path", ["", "none", "../", "/etc", "file:///etc/passwd", "..%2f", "a\\b", "a\x00"])
def test_only_a_store_under_the_root_is_found(client: httpx2.Client, db_path: str) -> None:
    response = client.post("/chat/", json=ASKED | {"db_path": db_path})
    assert (response.status_code, response.json()["detail"]) == (404, "there is no such store")


def test_a_provider_answers_with_the_callers_key(asking: httpx2.Client, provider: OpenAiServer) -> None:
    provider.script(Say(["11월 7일", "이에요."]))
    response = asking.post("/chat/", json=ASKED | {"base_url": "http://127.0.0.1:1/v1"})
    assert response.json() == {"output": "11월 7일이에요."}
    assert len(json.loads(response.headers["X-Citations"])) == 5
    assert len(asking.post("/v1/chat/", json=ASKED).json()["citations"]) == 5
    streamed = events(asking.post("/chat", json=ASKED, headers=EVENTS).text)
    assert streamed[:-1] == [("message", {"output": "11월 7일"}), ("message", {"output": "이에요."})]
    assert [call.authorization for call in provider.calls] == [f"Bearer {KEY}"] * 3
    assert all("1991년 11월 7일" in call.body["messages"][1]["content"] for call in provider.calls)


@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("answer", "status", "retry_after"),
    [
        (Refuse(401), 401, None),
        (Refuse(429, {"Retry-After": "7"}), 429, "7"),
        (Refuse(500), 502, None),
        (Hang(), 504, None),
    ],
)
def test_each_failure_of_the_provider_has_its_status(
    asking: httpx2.Client, provider: OpenAiServer, headers: dict[str, str], answer: Any, status: int, retry_after: Any
) -> None:
    provider.script(answer)
    response = asking.post("/chat/", json=ASKED, headers=headers)
    assert response.status_code == response.json()["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get("Retry-After") == retry_after


@pytest.mark.parametrize("headers", [{}, EVENTS])
def test_a_provider_that_fails_once_is_asked_again(
    asking: httpx2.Client, provider: OpenAiServer, headers: dict[str, str]
) -> None:
    provider.script(Refuse(500), Say(["네."]))
    assert asking.post("/chat/", json=ASKED, headers=headers).status_code == 200
    assert len(provider.calls) == 2


@pytest.mark.parametrize("answer", [Endless("안"), Hang(["안"]), ErrorInStream()])
def test_a_stream_that_fails_ends_with_an_error(asking: httpx2.Client, provider: OpenAiServer, answer: Any) -> None:
    provider.script(answer)
    response = asking.post("/chat/", json=ASKED, headers=EVENTS)
    *pieces, (event, problem) = events(response.text)
    assert {data["output"] for _, data in pieces} == {"안"}
    assert (event, problem["status"]) == ("error", 502 if isinstance(answer, ErrorInStream) else 504)


@contextmanager
def disconnecting(generating: Server, headers: dict[str, str]) -> Iterator[socket.socket]:
    """Yield a connection that has sent a request, and close it at the end."""
    body = json.dumps(ASKED).encode()
    fields = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = ["POST /chat/ HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    url = urlsplit(generating.url)
    with socket.create_connection((url.hostname, url.port), timeout=WAIT_S) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        yield connection


def test_pieces_arrive_as_the_provider_sends_them_and_disconnecting_cancels_its_call(
    generating: Server, provider: OpenAiServer
) -> None:
    provider.script(Hang(["안", "녕"]))
    with disconnecting(generating, EVENTS) as connection, connection.makefile("rb") as answer:
        lines = (line.strip() for line in iter(answer.readline, b"") if line.startswith(b"data"))
        received = [next(lines), next(lines)]
    assert received == ['data: {"output":"안"}'.encode(), 'data: {"output":"녕"}'.encode()]
    provider.hung_up.get(timeout=PROVIDER_TIMEOUT_S / 2)  # well before its timeout


@pytest.mark.parametrize("headers", [{}, EVENTS])
def test_disconnecting_before_the_answer_cancels_the_call_of_the_provider(
    generating: Server, provider: OpenAiServer, headers: dict[str, str]
) -> None:
    provider.script(Hang())
    with disconnecting(generating, headers):
        provider.hanging.get(timeout=WAIT_S)
    provider.hung_up.get(timeout=PROVIDER_TIMEOUT_S / 2)


def test_other_routes_answer_while_the_provider_hangs(asking: httpx2.Client, provider: OpenAiServer) -> None:
    provider.script(Hang())
    with ThreadPoolExecutor(HANGING) as threads:
        chats = [threads.submit(asking.post, "/chat/", json=ASKED) for _ in range(HANGING)]
        for _ in chats:
            provider.hanging.get(timeout=WAIT_S)
        assert not any(chat.done() for chat in chats)
        assert asking.post("/pred/sentences/", json=PAIR).status_code == 200
        assert asking.post("/api", json={"question": "누가?", "context": "철수가 왔다."}).status_code == 200
        assert {chat.result().status_code for chat in chats} == {504}


def session_folder(server: Server) -> Path:
    """The folder of all files that Ray's processes write."""
    for process in server.processes():
        if found := re.search(r"(/\S*?/session_\d[\w-]*)", " ".join(process.cmdline())):
            return Path(found[1])
    raise AssertionError("no session")


def test_the_key_is_in_no_answer_and_no_output_and_no_log(
    generating: Server, asking: httpx2.Client, provider: OpenAiServer
) -> None:
    responses: list[httpx2.Response] = []
    refusals = (Refuse(401), Refuse(429), Refuse(429, {"Retry-After": INVALID_DATE}), Refuse(400), Refuse(500))
    for answer in (*refusals, Hang(), ErrorInStream(), Hang(["안"]), Say(["네"])):
        provider.script(answer)
        responses += [asking.post("/chat/", json=ASKED, headers=headers) for headers in ({}, EVENTS)]
    faults = ({"api_key": f"{KEY}\r\n"}, {"api_key": [KEY]}, {"prompt": None}, {"db_path": KEY})
    responses += [asking.post("/chat/", json=ASKED | fields) for fields in faults]
    responses.append(
        asking.post("/chat/", content=f'{{"api_key": "{KEY}"', headers={"Content-Type": "application/json"})
    )
    assert all(KEY not in response.text + str(response.headers) for response in responses)
    assert KEY not in generating.output
    logs = [path for path in (session_folder(generating) / "logs").rglob("*") if path.is_file()]
    assert any(REJECTED in path.read_bytes() for path in logs)
    assert [path for path in logs if KEY.encode() in path.read_bytes()] == []


def test_the_key_is_in_no_command_line(generating: Server) -> None:
    def command(process: psutil.Process) -> str:
        try:
            return " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            return ""

    assert not any(KEY in command(process) for process in generating.processes())
