import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.settings import IngressSettings, Settings, StsSettings
from pipelines.errors import (
    CheckpointMismatch,
    CheckpointsMixed,
    EngineError,
    MalformedInput,
    Overloaded,
    StageUnavailable,
)
from tests.deployments.api.conftest import URL, Scripted, ScriptedServices

SECRET = "sk-canary-5f3a"


def is_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "errors"} == set(problem)
    assert problem["status"] == status
    assert SECRET not in response.text
    assert "Traceback" not in response.text
    return problem


def failing(error: Exception) -> Scripted:
    def answer(_: Any) -> Any:
        raise error

    return Scripted(answer)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (MalformedInput("not JSON"), 400, None),
        (Overloaded(2.4), 429, "3"),
        (EngineError("ValueError"), 500, None),
        (StageUnavailable("StsEncoder"), 503, None),
        (CheckpointMismatch("a", "b"), 503, "5"),
        (CheckpointsMixed(), 503, "5"),
        (RuntimeError(SECRET), 500, None),
    ],
)
def test_each_error_of_the_graph_has_its_status(
    client: TestClient, services: ScriptedServices, error: Exception, status: int, retry_after: str | None
) -> None:
    services.cola = failing(error)
    response = client.post("/generate", json={"passage": SECRET})
    is_problem(response, status)
    assert response.headers.get("Retry-After") == retry_after


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sentence_1": SECRET}, "/sentence_2"),
        ({"sentence_1": SECRET, "sentence_2": 3}, "/sentence_2"),
        ({"sentence_1": [SECRET], "sentence_2": "나"}, "/sentence_1"),
        ({"sentence_1": SECRET, "sentence_2": None}, "/sentence_2"),
        ({"sentence_1": SECRET, "sentence_2": " \t"}, "/sentence_2"),
        ({"sentence_1": SECRET, "sentence_2": ""}, "/sentence_2"),
        ({"sentence_1": SECRET, "sentence_2": "\u200b\ufeff\x07"}, "/sentence_2"),
        ({"sentence_1": SECRET, "sentence_2": "나\x00"}, "/sentence_2"),
        ([SECRET], ""),
        (None, ""),
    ],
)
def test_an_invalid_field_is_named_without_its_value(client: TestClient, body: Any, pointer: str) -> None:
    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    problem = is_problem(client.post("/pred/sentences/", content=content, headers=headers), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("field", ["question", "context"])
@pytest.mark.parametrize(("piece", "code"), [("\x00", "nul"), ("\ud800", "not_unicode")])
def test_a_question_or_context_that_tokenizers_cannot_read_completely_is_422(
    client: TestClient, field: str, piece: str, code: str
) -> None:
    asked = {"question": "누가?", "context": "철수가 왔다."}
    assert client.post("/api", json=asked | {field: ""}).status_code == 200
    content = json.dumps(asked | {field: SECRET + piece})  # escaped as ASCII, so that it can have half a surrogate pair
    response = client.post("/api", content=content, headers={"Content-Type": "application/json"})
    assert [(error["pointer"], error["code"]) for error in is_problem(response, 422)["errors"]] == [(f"/{field}", code)]


@pytest.mark.parametrize("body", [f'{{"passage": "{SECRET}"', "{,}", SECRET])
def test_a_body_that_is_not_json_is_400(client: TestClient, body: str) -> None:
    is_problem(client.post("/generate", content=body, headers={"Content-Type": "application/json"}), 400)


def test_an_unknown_path_is_404_and_a_wrong_method_405_with_what_is_allowed(client: TestClient) -> None:
    is_problem(client.get("/nothing"), 404)
    response = client.get("/pred/sentences/")
    is_problem(response, 405)
    assert response.headers["Allow"] == "POST"


def test_the_instance_of_a_problem_is_the_request_id(client: TestClient) -> None:
    response = client.post("/generate", json={}, headers={"X-Request-ID": "req-1"})
    assert is_problem(response, 422)["instance"] == "req-1"


@pytest.fixture
def limited(services: ScriptedServices) -> TestClient:
    services.settings = Settings(
        ingress=IngressSettings(max_body_bytes=300, max_upload_bytes=600),
        sts=StsSettings(max_characters=5, max_pairs=2),
    )
    return TestClient(make_api(services), URL, raise_server_exceptions=False)


def file_of(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"file": ("pairs.json", json.dumps({"results": rows}).encode())}


def test_a_text_over_its_limit_is_413_and_is_not_scored(limited: TestClient, services: ScriptedServices) -> None:
    problem = is_problem(limited.post("/pred/sentences/", json={"sentence_1": "x", "sentence_2": SECRET}), 413)
    assert "sentence_2" in problem["detail"]
    assert services.sts.asked == []


def test_a_body_over_its_limit_is_413(limited: TestClient, services: ScriptedServices) -> None:
    is_problem(limited.post("/generate", json={"passage": SECRET * 50}), 413)
    assert services.cola.asked == []


def test_a_body_without_content_length_is_413_once_it_is_too_long(
    limited: TestClient, services: ScriptedServices
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"passage": "'
        for _ in range(100):
            yield SECRET.encode()
        yield b'"}'

    is_problem(limited.post("/generate", content=chunks(), headers={"Content-Type": "application/json"}), 413)
    assert services.cola.asked == []


def test_an_upload_over_its_limits_is_413_and_nothing_is_scored(
    limited: TestClient, services: ScriptedServices
) -> None:
    row = {"sentence1": "a", "sentence2": "b"}
    is_problem(limited.post("/pred/file/", files=file_of(row, row, row)), 413)
    is_problem(limited.post("/pred/file/", files=file_of({"sentence1": "a", "sentence2": SECRET})), 413)
    is_problem(limited.post("/pred/file/", files=file_of(*[row] * 40)), 413)
    assert services.sts_files.asked == []


@pytest.mark.parametrize(
    ("rows", "pointers"),
    [
        ([{"sentence1": "a", "sentence2": "b"}, {"sentence1": SECRET}], ["/results/1/sentence2"]),
        ([{"sentence1": 1, "sentence2": SECRET}], ["/results/0/sentence1"]),
        ([], ["/results"]),
    ],
)
def test_a_file_with_an_invalid_row_is_422_and_nothing_is_scored(
    client: TestClient, services: ScriptedServices, rows: list[dict[str, Any]], pointers: list[str]
) -> None:
    problem = is_problem(client.post("/pred/file/", files=file_of(*rows)), 422)
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert services.sts_files.asked == []


def test_only_the_first_invalid_row_of_a_file_is_reported(client: TestClient) -> None:
    problem = is_problem(client.post("/pred/file/", files=file_of(*[{"sentence1": 0}] * 1000)), 422)
    assert {error["pointer"].split("/")[2] for error in problem["errors"]} == {"0"}


@pytest.mark.parametrize("document", [[1], {"results": {"sentence1": ["a"]}}, {"other": []}, None])
def test_a_file_with_another_structure_is_422(client: TestClient, document: Any) -> None:
    content = json.dumps(document).encode()
    is_problem(client.post("/pred/file/", files={"file": ("pairs.json", content)}), 422)


def test_too_many_rows_are_refused_before_they_are_validated(limited: TestClient) -> None:
    content = json.dumps({"results": [0] * 3}).encode()
    is_problem(limited.post("/pred/file/", files={"file": ("pairs.json", content)}), 413)


@pytest.mark.parametrize("content", [b"{", "안녕".encode("cp949"), b"PK\x03\x04"])
def test_a_file_that_is_not_utf8_json_is_400(client: TestClient, content: bytes) -> None:
    is_problem(client.post("/pred/file/", files={"file": ("pairs.json", content)}), 400)


def test_an_unexpected_error_is_logged_without_its_message_and_not_raised(
    services: ScriptedServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.cola = failing(RuntimeError(SECRET))
    logging.getLogger("ray.serve").addHandler(caplog.handler)
    try:
        is_problem(TestClient(make_api(services), URL).post("/generate", json={"passage": SECRET}), 500)
    finally:
        logging.getLogger("ray.serve").removeHandler(caplog.handler)
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text
