"""The chat's routes in front of the whole pipeline: shipped checkpoints, a store in memory, a provider over HTTP."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.api.chat import MAX_HEADER_BYTES, citations_header
from deployments.settings import IngressSettings, Settings
from pipelines.chat.generative import GenerativeAnswers
from pipelines.chat.pipeline import ChatPipeline
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
)
from tests.deployments.api.chats import ASKED, BOTH, DOCUMENTS, EVENTS, KEY, WAIT_S, chats, events
from tests.deployments.api.conftest import URL, ScriptedServices
from tests.deployments.api.test_problems import is_problem
from tests.openai_server import Endless, ErrorInStream, Hang, OpenAiServer, Refuse, Say
from tests.pipelines.chat.memory_store import MemoryStores
from tests.pipelines.chat.shipped import Shipped


@pytest.mark.parametrize("path", ["/chat/", "/chat"])
def test_the_answer_has_the_original_key_and_the_citations_are_in_a_header(asking: TestClient, path: str) -> None:
    response = asking.post(path, json=ASKED)
    assert response.status_code == 200
    assert list(response.json()) == ["output"]
    assert response.json()["output"] == "윤슬기는 1991년 5월 4일 통영에서 태어났다."
    (cited,) = json.loads(response.headers["X-Citations"])
    assert DOCUMENTS[cited["document"]][cited["start"] : cited["end"]] == response.json()["output"]
    assert cited["store"] == "vector_store"
    assert response.headers["X-Citations"].isascii()


def test_a_question_that_no_document_answers_gets_the_unknown_answer(asking: TestClient) -> None:
    response = asking.post("/v1/chat", json=ASKED | {"prompt": "what is the capital of France?"})
    assert response.json() == {"output": "모른다.", "citations": []}


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/"])
def test_the_v1_route_has_the_citations_in_its_body(asking: TestClient, path: str) -> None:
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
def test_the_answer_is_a_stream_only_if_the_accept_header_asks_for_it(
    asking: TestClient, accept: str, streams: bool
) -> None:
    response = asking.post("/chat/", json=ASKED, headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith("text/event-stream") is streams


def test_unknown_keys_such_as_base_url_are_ignored(asking: TestClient) -> None:
    more = ASKED | {"base_url": "http://127.0.0.1:1/v1", "model": "other", "provider": {}}
    assert asking.post("/chat/", json=more).json() == asking.post("/chat/", json=ASKED).json()


@BOTH
def test_a_provider_gets_the_callers_key_and_the_passages(
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
def test_each_failure_of_the_provider_has_its_status(
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
def test_a_failure_during_a_stream_is_its_last_event(
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
        (ProviderSuspended(3.0), 503),
        (ProviderRejected(400), 502),
        (ProviderFailed("status 500"), 502),
        (ProviderAnswerUnusable("it is not a completion"), 502),
        (RuntimeError(KEY), 500),
    ],
)
def test_each_error_of_the_graph_has_its_status(
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


def test_an_unexpected_error_in_a_stream_is_its_last_event_and_logged_without_its_message(
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
def test_an_answer_that_takes_too_long_gets_504(
    services: ScriptedServices,
    shipped: Shipped,
    stores: MemoryStores,
    provider: OpenAiServer,
    headers: dict[str, str],
) -> None:
    provider.script(Hang())
    services.settings = Settings(ingress=IngressSettings(deadline_s=2))
    asked = Provider(ProviderSettings(base_url=provider.url, model="tiny"))
    services.chats = chats(shipped, stores, GenerativeAnswers(asked, persona=""))
    with TestClient(make_api(services), URL) as client:
        is_problem(client.post("/chat/", json=ASKED, headers=headers), 504)
        provider.hung_up.get(timeout=WAIT_S)
        assert client.portal is not None
        client.portal.call(asked.close)


def citation(number: int, document: str = "가족.md") -> Citation:
    return Citation("vector_store", document, number, number + 9, 0.5, None, 3.25)


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_the_header_has_the_best_citations_that_fit_in_ascii(count: int) -> None:
    citations = tuple(citation(number) for number in range(count))
    header = citations_header(citations)
    kept = json.loads(header)
    assert header.isascii()
    assert len(header) <= MAX_HEADER_BYTES
    assert [cited["start"] for cited in kept] == list(range(len(kept)))
    assert len(kept) == count or 20 < len(kept) < count


def test_a_citation_too_long_for_the_header_leaves_it_empty() -> None:
    assert citations_header((citation(0, "가" * 5000), citation(1))) == "[]"


def test_the_schema_lists_the_answer_and_all_error_statuses(asking: TestClient) -> None:
    paths = asking.get("/openapi.json").json()["paths"]
    for path in ("/chat/", "/v1/chat"):
        responses = paths[path]["post"]["responses"]
        expected = {"200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "502", "503", "504"}
        assert set(responses) == expected
        assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}


def test_passages_are_given_where_they_are_asked_for_and_nowhere_else(asking: TestClient) -> None:
    plain = asking.post("/v1/chat", json=ASKED).json()
    assert all("passage" not in citation for citation in plain["citations"])
    shown = asking.post("/v1/chat", json=ASKED | {"passages": True}).json()
    (citation,) = shown["citations"]
    passage = citation.pop("passage")
    assert shown == plain
    document = DOCUMENTS[citation["document"]]
    assert passage["text"] == document[passage["start"] : passage["end"]]
    assert document[citation["start"] : citation["end"]] in passage["text"]
    streamed = events(asking.post("/v1/chat", json=ASKED | {"passages": True}, headers=EVENTS).text)
    assert streamed[-1] == ("done", {"citations": [citation | {"passage": passage}]})
    assert "passage" not in asking.post("/chat/", json=ASKED | {"passages": True}).headers["X-Citations"]
