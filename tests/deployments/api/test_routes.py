import json

import pytest
from starlette.testclient import TestClient

from pipelines.cola.pipeline import Acceptability
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity
from tests.deployments.api.conftest import ScriptedServices

FILE_PATHS = ["/pred/file/", "/pred/file", "/pred/multi/", "/pred/multi", "/pred/file/multi/", "/pred/file/multi"]


def upload(client: TestClient, content: bytes, path: str = "/pred/file/") -> "tuple[int, dict[str, object]]":
    response = client.post(path, files={"file": ("pairs.json", content)})
    return response.status_code, response.json()


def pairs(*sentences: tuple[str, str]) -> bytes:
    rows = [{"idx": i, "sentence1": left, "sentence2": right} for i, (left, right) in enumerate(sentences, 1)]
    return json.dumps({"results": rows}, ensure_ascii=False).encode()


@pytest.mark.parametrize("path", ["/pred/sentences/", "/pred/sentences"])
def test_a_pair_is_answered_with_the_original_keys(client: TestClient, path: str) -> None:
    response = client.post(path, json={"sentence_1": "가", "sentence_2": "나", "unknown": 1})
    assert response.status_code == 200
    answer = response.json()
    assert list(answer) == ["sentence_1", "sentence_2", "score", "pred", "runtime(sec)"]
    assert answer["runtime(sec)"] >= 0
    assert {key: answer[key] for key in list(answer)[:4]} == {
        "sentence_1": "가",
        "sentence_2": "나",
        "score": 0.61,
        "pred": 1,
    }


@pytest.mark.parametrize("path", FILE_PATHS)
def test_a_file_of_an_odd_number_of_pairs_loses_none(client: TestClient, path: str) -> None:
    rows = [("가" * length, "나") for length in (70, 20, 90)]
    status, answer = upload(client, pairs(*rows), path)
    assert status == 200
    assert list(answer) == ["sentences", "preds", "scores", "runtime(sec)"]
    assert answer["sentences"] == [list(row) for row in rows]
    assert answer["scores"] == [0.7, 0.2, 0.9]
    assert answer["preds"] == [1, 0, 1]


def test_a_file_uses_the_group_commit_for_files(client: TestClient, services: ScriptedServices) -> None:
    upload(client, pairs(("가", "나")))
    assert services.sts_files.asked == [("가", "나")]
    assert services.sts.asked == []


def test_a_byte_order_mark_in_a_file_is_ignored(client: TestClient) -> None:
    assert upload(client, b"\xef\xbb\xbf" + pairs(("가", "나")))[0] == 200


@pytest.mark.parametrize("path", ["/generate", "/generate/"])
def test_a_passage_gets_its_probability(client: TestClient, path: str) -> None:
    response = client.post(path, json={"passage": "I are a boy"})
    assert (response.status_code, response.json()) == (200, {"prob": 0.25})


@pytest.mark.parametrize("path", ["/api", "/api/"])
def test_a_question_gets_a_piece_of_its_context(client: TestClient, path: str) -> None:
    response = client.post(path, json={"question": "무엇?", "context": "가나다라"})
    assert response.json() == {"question": "무엇?", "context": "가나다라", "answer": "나다"}
    assert response.headers["X-Answer-Span"] == "1-3"


@pytest.mark.parametrize(("question", "context"), [("", "가나다"), ("무엇?", ""), ("", ""), (" \n", "가나다")])
def test_an_empty_question_or_context_has_an_empty_answer(
    client: TestClient, services: ScriptedServices, question: str, context: str
) -> None:
    response = client.post("/api", json={"question": question, "context": context})
    assert response.status_code == 200
    assert response.json() == {"question": question, "context": context, "answer": ""}
    assert services.qa.asked == []


def test_truncation_is_reported_in_a_header(client: TestClient, services: ScriptedServices) -> None:
    services.sts.answer = lambda pair: Similarity(0.5, False, True, "digest")
    services.sts_files.answer = services.sts.answer
    services.cola.answer = lambda passage: Acceptability(0.5, True)
    services.qa.answer = lambda request: Answer("나", 1, 2, 9.0, 1.0, 1, "digest", truncated=True)
    body = {"sentence_1": "가", "sentence_2": "나", "passage": "다", "question": "무엇?", "context": "가나"}
    assert client.post("/pred/sentences/", json=body).headers["X-Truncated"] == "true"
    assert client.post("/generate", json=body).headers["X-Truncated"] == "true"
    assert client.post("/api", json=body).headers["X-Truncated"] == "true"
    answer = client.post("/pred/file/", files={"file": ("pairs.json", pairs(("가", "나")))})
    assert answer.headers["X-Truncated"] == "true"


def test_there_is_no_truncation_header_for_a_text_that_was_read_completely(client: TestClient) -> None:
    assert "X-Truncated" not in client.post("/generate", json={"passage": "다"}).headers


def test_a_browser_gets_the_page_and_other_clients_the_greeting(client: TestClient) -> None:
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    greeting = client.get("/", headers={"Accept": "*/*"})
    assert greeting.json() == {"Hello": "World"}
    assert page.headers["Vary"] == greeting.headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_documentation_loads_all_assets_from_this_server(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css", "/swagger/favicon.png"):
        assert asset in page.text
        assert client.get(asset).status_code == 200


def test_the_schema_names_the_original_paths_and_keys(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/pred/sentences/", "/pred/file/", "/pred/multi/", "/pred/file/multi/", "/generate", "/api"} <= set(
        schema["paths"]
    )
    assert "runtime(sec)" in schema["components"]["schemas"]["SentencesScore"]["properties"]


def test_health_info_and_readiness_are_reported(client: TestClient, services: ScriptedServices) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/info").json()["tasks"]["sts"]["threshold"] == 0.6
    assert client.get("/readyz").json() == {"ready": True, "deployments": services.deployments}


def test_readyz_names_deployments_without_a_running_replica(client: TestClient, services: ScriptedServices) -> None:
    services.deployments["StsEncoder"] = False
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "deployments": {"StsEncoder": False, "Ingress": True}}


def test_the_graph_shows_all_deployments_and_is_not_cached(client: TestClient, services: ScriptedServices) -> None:
    response = client.get("/v1/graph")
    assert [each["name"] for each in response.json()["deployments"]] == list(services.deployments)
    assert response.headers["Cache-Control"] == "no-store"


def test_requests_with_work_are_counted_also_those_that_are_refused(
    client: TestClient, services: ScriptedServices
) -> None:
    client.post("/generate", json={"passage": "I are a boy"})
    client.post("/generate", json={})
    client.get("/v1/graph")
    assert services.requests.count == 2
