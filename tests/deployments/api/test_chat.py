"""The chat's routes in front of the whole pipeline: shipped checkpoints, a store in memory, a provider over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.api.chat import MAX_HEADER_BYTES, citations_header
from deployments.settings import ChatSettings, IngressSettings, Settings
from pipelines.chat.extractive import ExtractiveAnswers
from pipelines.chat.generative import GenerativeAnswers
from pipelines.chat.passage import Passage
from pipelines.chat.pipeline import Answers, ChatPipeline
from pipelines.chat.provider import Provider
from pipelines.chat.request import ChatRequest, Citation, Reply
from pipelines.chat.settings import ProviderSettings
from pipelines.errors import (
    Overloaded,
    ProviderAnswerUnusable,
    ProviderFailed,
    ProviderRejected,
    ProviderSuspended,
    StageUnavailable,
    StoreCorrupt,
    StoreMismatch,
)
from tests.deployments.api.conftest import ScriptedServices
from tests.deployments.api.test_problems import is_problem
from tests.openai_server import Endless, ErrorInStream, Hang, OpenAiServer, Refuse, Say, running
from tests.pipelines.chat.memory_store import MemoryStore, MemoryStores
from tests.pipelines.chat.shipped import Shipped

CHECKPOINTS = Path(__file__).parents[3] / "checkpoints"
KEY = "sk-canary-5f3a"
DOCUMENTS = {
    "birth.md": "# 출생\n\n윤슬기는 1991년 5월 4일 통영에서 태어났다. 그날은 비가 왔다.",
    "work.md": "윤슬기는 2015년부터 시립 도서관에서 사서로 일한다. 월요일에는 쉰다.",
    "pets.md": "고양이 두 마리와 산다. 이름은 보리와 두부다.",
}
ASKED = {"prompt": "윤슬기는 어디에서 태어났어?", "api_key": KEY, "db_path": "vector_store/"}
EVENTS = {"Accept": "text/event-stream"}
BOTH = pytest.mark.parametrize("path", ["/chat/", "/v1/chat"])
WAIT_S = 10


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return Shipped()


@pytest.fixture(scope="module")
def stores(shipped: Shipped) -> MemoryStores:
    vectors = [asyncio.run(shipped.embed(text)).vector for text in DOCUMENTS.values()]
    passages = [Passage(name, 0, len(text), text, 0, None, None) for name, text in DOCUMENTS.items()]
    return MemoryStores({"vector_store": MemoryStore("vector_store", shipped.digest, passages, np.stack(vectors))})


@pytest.fixture(scope="module")
def started() -> Iterator[OpenAiServer]:
    with running() as server:
        yield server


def chats(shipped: Shipped, stores: MemoryStores, answers: Answers | None = None) -> ChatPipeline:
    extractive = ExtractiveAnswers(shipped.extract, sentences=5, margin_weight=0.01, threshold=0.1, unknown="모른다.")  # type: ignore[arg-type]
    return ChatPipeline(stores, shipped.embed, answers or extractive, passages=2)


@pytest.fixture
def asking(shipped: Shipped, stores: MemoryStores, services: ScriptedServices, client: TestClient) -> TestClient:
    """Without a provider."""
    services.chats = chats(shipped, stores)
    return client


@pytest.fixture
def provider(started: OpenAiServer) -> OpenAiServer:
    started.script()
    return started


@pytest.fixture
def generating(
    shipped: Shipped, stores: MemoryStores, services: ScriptedServices, provider: OpenAiServer
) -> Iterator[TestClient]:
    settings = ProviderSettings(base_url=provider.url, model="tiny", timeout_s=1, stream_timeout_s=1, max_retries=0)
    asked = Provider(settings)
    services.chats = chats(shipped, stores, GenerativeAnswers(asked, persona="너는 윤슬기다."))
    # One event loop for all requests, which the provider's connections belong to.
    with TestClient(make_api(services), follow_redirects=False, raise_server_exceptions=False) as client:
        yield client
        assert client.portal is not None
        client.portal.call(asked.close)


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of each event of a stream."""
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n")) for block in text.removesuffix("\n\n").split("\n\n")
    ]
    return [(block.get("event", "message"), json.loads(block["data"])) for block in blocks]


@pytest.mark.parametrize("path", ["/chat/", "/chat"])
def test_the_answer_is_the_original_object_and_the_citations_a_header(asking: TestClient, path: str) -> None:
    response = asking.post(path, json=ASKED)
    assert response.status_code == 200
    assert list(response.json()) == ["output"]
    assert response.json()["output"] == "윤슬기는 1991년 5월 4일 통영에서 태어났다."
    (cited,) = json.loads(response.headers["X-Citations"])
    assert DOCUMENTS[cited["document"]][cited["start"] : cited["end"]] == response.json()["output"]
    assert cited["store"] == "vector_store"
    assert response.headers["X-Citations"].isascii()


def test_what_no_document_says_is_not_known(asking: TestClient) -> None:
    response = asking.post("/v1/chat", json=ASKED | {"prompt": "what is the capital of France?"})
    assert response.json() == {"output": "모른다.", "citations": []}


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/"])
def test_the_newer_route_has_the_citations_in_its_body(asking: TestClient, path: str) -> None:
    response = asking.post(path, json=ASKED)
    body = response.json()
    assert list(body) == ["output", "citations"]
    assert list(body["citations"][0]) == ["store", "document", "start", "end", "score", "similarity", "lexical"]
    assert body["citations"] == json.loads(asking.post("/chat/", json=ASKED).headers["X-Citations"])
    assert "X-Citations" not in response.headers


@BOTH
def test_a_stream_ends_with_the_citations(asking: TestClient, path: str) -> None:
    whole = asking.post("/v1/chat", json=ASKED).json()
    response = asking.post(path, json=ASKED, headers=EVENTS)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert events(response.text) == [
        ("message", {"output": whole["output"]}),
        ("done", {"citations": whole["citations"]}),
    ]


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("", False),
        ("*/*", False),
        ("text/event-stream-not", False),
        ("text/event-stream;q=0", False),
        ("application/json, text/event-stream; q=0.000", False),
        ("Text/Event-Stream", True),
        ("application/json;q=0, text/event-stream;q=0.1", True),
    ],
)
def test_a_stream_is_for_those_who_ask_for_one(asking: TestClient, accept: str, streams: bool) -> None:
    response = asking.post("/chat/", json=ASKED, headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith("text/event-stream") is streams


def test_what_is_unknown_is_ignored_and_base_url_changes_nothing(asking: TestClient) -> None:
    more = ASKED | {"base_url": "http://127.0.0.1:1/v1", "model": "other", "provider": {}}
    assert asking.post("/chat/", json=more).json() == asking.post("/chat/", json=ASKED).json()


@BOTH
def test_a_provider_answers_with_the_callers_key_from_what_was_found(
    generating: TestClient, provider: OpenAiServer, path: str
) -> None:
    provider.script(Say(["통영", "이야."]))
    assert generating.post(path, json=ASKED).json()["output"] == "통영이야."
    streamed = events(generating.post(path, json=ASKED, headers=EVENTS).text)
    assert [data["output"] for event, data in streamed if event == "message"] == ["통영", "이야."]
    assert streamed[-1][0] == "done"
    assert len(streamed[-1][1]["citations"]) == 2
    for call in provider.calls:
        assert call.authorization == f"Bearer {KEY}"
        assert "통영에서 태어났다" in call.body["messages"][1]["content"]
        assert call.body["model"] == "tiny"


@BOTH
@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("answer", "status", "header"),
    [
        (Refuse(401), 401, ("WWW-Authenticate", 'Bearer realm="language-model provider"')),
        (Refuse(429, {"Retry-After": "7"}), 429, ("Retry-After", "7")),
        (Refuse(404), 502, None),
        (Refuse(500), 502, None),
        (Hang(), 504, None),
    ],
)
def test_what_a_provider_does_has_its_status(
    generating: TestClient,
    provider: OpenAiServer,
    path: str,
    headers: dict[str, str],
    answer: Any,
    status: int,
    header: Any,
) -> None:
    provider.script(answer)
    response = generating.post(path, json=ASKED, headers=headers)
    assert KEY not in str(is_problem(response, status)) + str(response.headers)
    if header:
        assert response.headers[header[0]] == header[1]


@pytest.mark.parametrize(("answer", "status"), [(ErrorInStream(), 502), (Hang(["안"]), 504), (Endless("안"), 504)])
def test_what_fails_in_mid_stream_is_its_last_event(
    generating: TestClient, provider: OpenAiServer, answer: Any, status: int
) -> None:
    provider.script(answer)
    response = generating.post("/chat/", json=ASKED, headers=EVENTS | {"X-Request-ID": "mine"})
    assert response.status_code == 200
    *pieces, (event, problem) = events(response.text)
    assert {data["output"] for _, data in pieces} == {"안"}
    assert (event, problem["status"], problem["instance"]) == ("error", status, "mine")
    assert KEY not in response.text


@BOTH
@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded(2.5), 429),
        (StageUnavailable("PersonaChat"), 503),
        (StoreCorrupt("vector_store", "cut"), 503),
        (StoreMismatch("vector_store", "a", "b"), 503),
        (ProviderSuspended(3.0), 503),
        (ProviderRejected(400), 502),
        (ProviderFailed("status 500"), 502),
        (ProviderAnswerUnusable("it is not a completion"), 502),
        (RuntimeError(KEY), 500),
    ],
)
def test_an_error_of_the_graph_has_its_status(
    services: ScriptedServices, client: TestClient, path: str, headers: dict[str, str], error: Exception, status: int
) -> None:
    class Failing(ChatPipeline):
        def __init__(self) -> None: ...

        async def __call__(self, request: ChatRequest) -> Reply:
            raise error

        async def stream(self, request: ChatRequest):  # type: ignore[no-untyped-def]
            raise error
            yield

    services.chats = Failing()
    response = client.post(path, json=ASKED, headers=headers)
    is_problem(response, status)
    assert KEY not in response.text
    assert response.headers.get("Retry-After") == ("3" if isinstance(error, Overloaded | ProviderSuspended) else None)


def test_a_fault_in_mid_stream_is_its_last_event_and_is_logged_without_its_words(
    services: ScriptedServices, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(ChatPipeline):
        def __init__(self) -> None: ...

        async def stream(self, request: ChatRequest):  # type: ignore[no-untyped-def]
            yield "안"
            raise RuntimeError(KEY)

    services.chats = Failing()
    response = client.post("/chat/", json=ASKED, headers=EVENTS)
    (_, piece), (event, problem) = events(response.text)
    assert (piece, event, problem["status"]) == ({"output": "안"}, "error", 500)
    assert "RuntimeError" in caplog.text
    assert KEY not in response.text + caplog.text


@pytest.mark.parametrize("headers", [{}, EVENTS])
def test_an_answer_that_takes_too_long_is_504(
    services: ScriptedServices,
    shipped: Shipped,
    stores: MemoryStores,
    provider: OpenAiServer,
    headers: dict[str, str],
) -> None:
    provider.script(Hang())
    services.settings = Settings(ingress=IngressSettings(deadline_s=0.5))
    asked = Provider(ProviderSettings(base_url=provider.url, model="tiny"))
    services.chats = chats(shipped, stores, GenerativeAnswers(asked, persona=""))
    with TestClient(make_api(services)) as client:
        is_problem(client.post("/chat/", json=ASKED, headers=headers), 504)
        provider.hung_up.get(timeout=WAIT_S)
        assert client.portal is not None
        client.portal.call(asked.close)


@BOTH
@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    "db_path", ["other", "", "../checkpoints/sts", "/etc/passwd", "file:///etc", "a\\..\\b", "a\x00"]
)
def test_a_store_that_is_not_there_is_404_and_all_of_them_the_same(
    asking: TestClient, path: str, headers: dict[str, str], db_path: str
) -> None:
    problem = is_problem(asking.post(path, json=ASKED | {"db_path": db_path}, headers=headers), 404)
    assert problem == is_problem(asking.post(path, json=ASKED | {"db_path": "none"}, headers=headers), 404)


CASES: list[tuple[dict[str, Any], str]] = [
    ({"api_key": ""}, "/api_key"),
    ({"api_key": "  "}, "/api_key"),
    ({"api_key": f"{KEY}\r\nX-Other: 1"}, "/api_key"),
    ({"api_key": f"{KEY}\n"}, "/api_key"),
    ({"api_key": f"{KEY} "}, "/api_key"),
    ({"api_key": f"{KEY}열쇠"}, "/api_key"),
    ({"api_key": f"{KEY}\x00"}, "/api_key"),
    ({"api_key": KEY * 80_000}, "/api_key"),
    ({"api_key": None}, "/api_key"),
    ({"api_key": [KEY]}, "/api_key"),
    ({"api_key": {"a": KEY}}, "/api_key"),
    ({"prompt": ""}, "/prompt"),
    ({"prompt": " \n"}, "/prompt"),
    ({"prompt": 3}, "/prompt"),
    ({"prompt": "누구\ud800"}, "/prompt"),
    ({"prompt": "\u200b\u200d \ufeff"}, "/prompt"),
    ({"prompt": "누구\x00"}, "/prompt"),
    ({"db_path": "a\ud800"}, "/db_path"),
    ({"api_key": f"{KEY}\ud800"}, "/api_key"),
    ({"prompt": None, "api_key": KEY}, "/prompt"),
    ({"db_path": "a" * 1025}, "/db_path"),
    ({"db_path": 1}, "/db_path"),
]


@BOTH
@pytest.mark.parametrize(("fields", "pointer"), CASES, ids=lambda value: repr(value)[:40])
def test_a_field_at_fault_is_named_and_nothing_is_asked(
    generating: TestClient, provider: OpenAiServer, path: str, fields: dict[str, Any], pointer: str
) -> None:
    content = json.dumps(ASKED | fields)  # in ASCII, which can hold half a surrogate pair
    response = generating.post(path, content=content, headers={"Content-Type": "application/json"})
    problem = is_problem(response, 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert KEY not in response.text
    assert provider.calls == []


@pytest.mark.parametrize("field", ["prompt", "api_key", "db_path"])
def test_a_missing_field_is_named(asking: TestClient, field: str) -> None:
    problem = is_problem(asking.post("/chat/", json={name: text for name, text in ASKED.items() if name != field}), 422)
    assert problem["errors"] == [{"pointer": f"/{field}", "code": "missing", "detail": "Field required"}]


def test_a_prompt_over_its_limit_is_413(services: ScriptedServices, asking: TestClient) -> None:
    services.settings = Settings(chat=ChatSettings(max_prompt_characters=5))
    problem = is_problem(asking.post("/chat/", json=ASKED | {"prompt": "가" * 6}), 413)
    assert "prompt" in problem["detail"]
    is_problem(asking.post("/chat/", json=ASKED | {"prompt": "가" * 2**20}), 413)


@pytest.mark.parametrize("content", [b"{", b'{"prompt": "a",}'])
def test_a_body_that_is_not_json_is_400(asking: TestClient, content: bytes) -> None:
    is_problem(asking.post("/chat/", content=content, headers={"Content-Type": "application/json"}), 400)


def citation(number: int, document: str = "가족.md") -> Citation:
    return Citation("vector_store", document, number, number + 9, 0.5, None, 3.25)


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_the_header_holds_the_best_that_fit_in_ascii(count: int) -> None:
    citations = tuple(citation(number) for number in range(count))
    header = citations_header(citations)
    kept = json.loads(header)
    assert header.isascii()
    assert len(header) <= MAX_HEADER_BYTES
    assert [cited["start"] for cited in kept] == list(range(len(kept)))
    assert len(kept) == count or 20 < len(kept) < count


def test_a_name_too_long_for_the_header_leaves_it_empty() -> None:
    assert citations_header((citation(0, "가" * 5000), citation(1))) == "[]"


def test_every_status_in_the_schema_is_a_refusal_or_the_answer(asking: TestClient) -> None:
    paths = asking.get("/openapi.json").json()["paths"]
    for path in ("/chat/", "/v1/chat"):
        told = paths[path]["post"]["responses"]
        assert set(told) == {"200", "400", "401", "404", "413", "422", "429", "502", "503", "504"}
        assert set(told["200"]["content"]) == {"application/json", "text/event-stream"}
