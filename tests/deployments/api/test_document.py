from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.deployments.api.test_work_headers import FEW, OWN, TEI

TIMES = {"x-queue-time", "x-total-time", "x-compute-time"}


def headers_of(client: TestClient, path: str) -> Mapping[str, Any]:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    headers: Mapping[str, Any] = operation["responses"]["200"].get("headers", {})
    return headers


def test_the_document_has_the_headers_that_answers_have(client: TestClient) -> None:
    assert set(headers_of(client, "/embed")) == {*TEI, *OWN, *TIMES, "X-Truncated"}
    assert set(headers_of(client, "/generate")) == {*FEW, "x-queue-time", "X-Truncated"}


@pytest.mark.parametrize("path", ["/tokenize", "/chat/", "/v1/files", "/v1/batches/{batch_id}/cancel"])
def test_the_document_names_no_headers_where_no_model_works(client: TestClient, path: str) -> None:
    assert not headers_of(client, path)
