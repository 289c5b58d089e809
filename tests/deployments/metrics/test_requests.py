import asyncio
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.keys import Key, hash_of
from deployments.metrics.registry import REGISTRY
from deployments.metrics.requests import Requests
from deployments.settings import AccessSettings, IngressSettings, Settings
from pipelines.errors import EngineError, Overloaded
from tests.deployments.api.conftest import URL, ScriptedServices, client, services
from tests.deployments.metrics.samples import Changes

__all__ = ["client", "services"]

CANARY = "canary5f3a"
PAIR = {"sentence_1": f"{CANARY} 하나", "sentence_2": "둘"}


@pytest.mark.parametrize("path", ["/pred/sentences/", "/pred/sentences"])
def test_requests_are_counted_and_timed_by_route(client: TestClient, path: str) -> None:
    changes = Changes(route="/pred/sentences")
    assert client.post(path, json=PAIR).status_code == 200
    assert changes("munjang_requests_total", status="200") == 1
    assert changes("munjang_request_duration_seconds_count") == 1
    assert changes("munjang_request_duration_seconds_sum") > 0


def test_paths_that_callers_invent_share_one_route(client: TestClient) -> None:
    changes = Changes(route="other")
    for path in (f"/{CANARY}", f"/pred/{CANARY}", "/static/page.js", "/bad%0a"):
        client.get(path)
    assert changes("munjang_requests_total", status="404") == 3
    assert changes("munjang_requests_total", status="200") == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PAIR | {"sentence_2": "둘" * 20_000}, "too_large"),
        (PAIR | {"sentence_2": [CANARY]}, "invalid_input"),
    ],
)
def test_refusals_are_counted_by_the_type_of_their_error(client: TestClient, body: dict[str, Any], reason: str) -> None:
    changes = Changes(route="/pred/sentences")
    client.post("/pred/sentences/", json=body)
    assert changes("munjang_refusals_total", reason=reason) == 1


def test_malformed_bodies_are_counted(client: TestClient) -> None:
    changes = Changes(route="/generate")
    client.post("/generate", content=b"{", headers={"Content-Type": "application/json"})
    assert changes("munjang_refusals_total", reason="malformed_input") == 1


@pytest.mark.parametrize(
    ("error", "reason", "status"),
    [
        (Overloaded(1), "overloaded", "429"),
        (EngineError("RuntimeError"), "engine_error", "500"),
        (ValueError(CANARY), "unexpected_error", "500"),
    ],
)
def test_errors_of_the_graph_are_counted(
    client: TestClient, services: ScriptedServices, error: Exception, reason: str, status: str
) -> None:
    def fail(_: Any) -> None:
        raise error

    services.sts.answer = fail
    changes = Changes(route="/pred/sentences")
    client.post("/pred/sentences/", json=PAIR)
    assert changes("munjang_refusals_total", reason=reason) == 1
    assert changes("munjang_requests_total", status=status) == 1


def test_keys_that_are_missing_or_exhausted_or_of_another_scope_are_counted(services: ScriptedServices) -> None:
    key = Key(
        name="page", sha256=hash_of(SecretStr("secret-of-sixteen")), scopes=frozenset({"infer"}), requests_per_minute=1
    )
    services.settings = Settings(ingress=IngressSettings(access=AccessSettings(keys=(key,))))
    client = TestClient(make_api(services), URL)
    changes = Changes(route="/generate")
    for headers in ({}, {"X-API-Key": "secret-of-sixteen"}, {"X-API-Key": "secret-of-sixteen"}):
        client.post("/generate", json={"passage": "a"}, headers=headers)
    assert changes("munjang_refusals_total", reason="unauthorized") == 1
    assert changes("munjang_refusals_total", reason="quota_exhausted") == 1
    forbidden = Changes(route="/info")
    client.get("/info", headers={"X-API-Key": "secret-of-sixteen"})
    assert forbidden("munjang_refusals_total", reason="forbidden") == 1


def test_a_request_whose_client_has_gone_has_status_499() -> None:
    async def gone(*_: Any) -> None:
        raise asyncio.CancelledError

    async def scenario() -> None:
        with pytest.raises(asyncio.CancelledError):
            await Requests(gone, paths=["/api"])({"type": "http", "path": "/api"}, gone, gone)  # type: ignore[arg-type]

    changes = Changes(route="/api")
    asyncio.run(scenario())
    assert changes("munjang_requests_total", status="499") == 1


def test_no_label_repeats_what_callers_send(client: TestClient) -> None:
    client.post(f"/pred/sentences/?{CANARY}", json=PAIR, headers={"X-Request-ID": CANARY, "X-API-Key": CANARY})
    client.request(CANARY, f"/{CANARY}")
    labels = [value for family in REGISTRY.collect() for one in family.samples for value in one.labels.values()]
    assert len(labels) > 100
    assert not [value for value in labels if CANARY in value]
