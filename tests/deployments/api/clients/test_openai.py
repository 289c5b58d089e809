import base64
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deployments.settings import IngressSettings, Settings
from pipelines.errors import DeadlineExceeded, FieldFault, InvalidInput, Overloaded, WrongKind
from tests.deployments.api.conftest import URL, VECTOR, Scripted, ScriptedServices


def embeddings(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/embeddings", json={"model": "sts", "input": "가나다", **body})


@pytest.mark.parametrize(
    ("given", "submitted"),
    [
        ("가나다", ["가나다"]),
        (["가", "나다"], ["가", "나다"]),
        ([7, 8.0, 9], [(7, 8, 9)]),
        ([[7], [8, 9]], [(7,), (8, 9)]),
        (["가", [7, 8]], ["가", (7, 8)]),
    ],
    ids=["text", "texts", "ids", "lists of ids", "both"],
)
def test_all_forms_of_input_are_embedded_in_order(
    client: TestClient, services: ScriptedServices, given: Any, submitted: list[Any]
) -> None:
    answer = embeddings(client, input=given).json()
    assert services.embeddings.asked == [(one, "symmetric") for one in submitted]
    tokens = sum(map(len, submitted))
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": VECTOR.tolist()} for index in range(len(submitted))
        ],
        "model": "sts",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def test_base64_is_little_endian_float32(client: TestClient) -> None:
    answer = embeddings(client, encoding_format="base64").json()
    decoded = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(decoded, VECTOR)


@pytest.mark.parametrize(
    "given",
    [None, 3, "", " ", "a\0", [], [""], [[]], [[1], []], [1, "a"], [True], [-1], [2**31], [1.5], [[1.5]], ["a"] * 2049],
)
def test_what_is_no_input_is_refused_in_openais_shape(client: TestClient, given: Any) -> None:
    answer = embeddings(client, input=given)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "input"
    assert error["message"].startswith("/input: ")
    assert answer.headers["Content-Type"] == "application/json"


def test_the_message_names_the_input_that_is_bad(client: TestClient) -> None:
    assert "Input 1: " in embeddings(client, input=["가", " "]).json()["error"]["message"]


def test_other_dimensions_than_the_checkpoints_own_are_refused(client: TestClient) -> None:
    answer = embeddings(client, dimensions=128)
    assert answer.json()["error"]["param"] == "dimensions"
    assert "declares no other dimensions" in answer.json()["error"]["message"]


def test_unknown_models_and_models_without_embeddings_are_refused(client: TestClient) -> None:
    unknown = embeddings(client, model="text-embedding-3-small")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "sts, cola, qa" in unknown.json()["error"]["message"]
    assert embeddings(client, model="cola").status_code == 424


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidInput(FieldFault("", "foreign_token_id", "a token id is outside")), 422, "invalid_request_error"),
        (WrongKind("no embeddings"), 424, "invalid_request_error"),
        (Overloaded(3), 429, "rate_limit_error"),
        (DeadlineExceeded(3), 504, "server_error"),
        (RuntimeError("secret"), 500, "server_error"),
    ],
)
def test_errors_have_openais_shape(
    client: TestClient, services: ScriptedServices, error: Exception, status: int, kind: str
) -> None:
    def fail(_: Any) -> Any:
        raise error

    services.embeddings = Scripted(fail)
    answer = embeddings(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert "secret" not in answer.text
    assert answer.headers.get("Retry-After") == ("3" if status == 429 else None)
    assert answer.headers.get("x-should-retry") == ("false" if status == 504 else None)


def test_a_text_over_the_limit_is_413_and_truncation_is_reported(
    client: TestClient, services: ScriptedServices
) -> None:
    assert embeddings(client, input=["가", "나" * 10_001]).status_code == 413
    assert embeddings(client, input=["too long"]).headers["X-Truncated"] == "true"
    assert "X-Truncated" not in embeddings(client).headers


def test_models_are_named_by_task(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == ["sts"]
    assert listed["data"][0] == client.get("/v1/models/sts").json()
    assert listed["data"][0]["kind"] == "bi-encoder"
    missing = client.get("/v1/models/no/such")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_a_body_over_its_limit_has_openais_shape(services: ScriptedServices) -> None:
    from deployments.api.app import make_api

    services.settings = Settings(ingress=IngressSettings(max_body_bytes=10))
    answer = embeddings(TestClient(make_api(services), URL))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"
