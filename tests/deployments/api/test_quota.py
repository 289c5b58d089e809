"""Quotas, by a clock that only the tests turn."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from deployments.api import access
from deployments.api.quota import Quota
from deployments.keys import Key
from tests.deployments.api.conftest import ScriptedServices
from tests.deployments.api.test_access import bearer, closed, key
from tests.deployments.api.test_problems import is_problem

PASSAGE = {"passage": "a" * 86}  # 100 bytes as JSON


@dataclass
class Clock:
    now_s: float = 6000.0  # the beginning of a minute

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access, "Quota", lambda key: Quota(key, clock))
    return clock


def client_of(services: ScriptedServices, *keys: Key) -> TestClient:
    return TestClient(closed(services, *keys), raise_server_exceptions=False)


def rate_limit(headers: object) -> dict[str, str]:
    return {name: value for name, value in headers.items() if "rate" in name or name == "retry-after"}  # type: ignore[attr-defined]


def test_requests_over_the_quota_are_429_until_the_next_minute(services: ScriptedServices, clock: Clock) -> None:
    client = client_of(services, key("infer", requests_per_minute=2))
    clock.now_s += 18.2
    for remaining in ("1", "0"):
        response = client.post("/generate", json=PASSAGE, headers=bearer("infer"))
        assert response.status_code == 200
        assert rate_limit(response.headers) == {
            "ratelimit-limit": "2",
            "ratelimit-remaining": remaining,
            "ratelimit-reset": "42",
        }
    refused = client.post("/generate", json=PASSAGE, headers=bearer("infer"))
    assert "2 requests" in is_problem(refused, 429)["detail"]
    assert rate_limit(refused.headers) == {
        "ratelimit-limit": "2",
        "ratelimit-remaining": "0",
        "ratelimit-reset": "42",
        "retry-after": "42",
    }
    assert len(services.cola.asked) == 2
    clock.now_s += 42
    assert client.post("/generate", json=PASSAGE, headers=bearer("infer")).status_code == 200


def test_bytes_over_the_quota_are_taken_from_the_next_minutes(services: ScriptedServices, clock: Clock) -> None:
    client = client_of(services, key("infer", bytes_per_minute=40))
    assert client.post("/generate", json=PASSAGE, headers=bearer("infer")).status_code == 200
    refused = client.post("/generate", json=PASSAGE, headers=bearer("infer"))
    assert "40 bytes" in is_problem(refused, 429)["detail"]
    assert refused.headers["Retry-After"] == "120"  # after one minute, 60 are still used
    clock.now_s += 119
    assert client.post("/generate", json=PASSAGE, headers=bearer("infer")).status_code == 429
    clock.now_s += 1
    response = client.post("/generate", json=PASSAGE, headers=bearer("infer"))
    assert (response.status_code, response.headers["RateLimit-Remaining"]) == (200, "0")


def test_the_bytes_of_a_body_in_chunks_are_counted(services: ScriptedServices, clock: Clock) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"passage": "'
        yield b"a" * 85
        yield b'"}'

    client = client_of(services, key("infer", bytes_per_minute=100))
    headers = bearer("infer") | {"Content-Type": "application/json"}
    response = client.post("/generate", content=chunks(), headers=headers)
    assert (response.status_code, response.headers["RateLimit-Remaining"]) == (200, "0")
    assert client.post("/generate", json=PASSAGE, headers=headers).status_code == 429


def test_the_headers_are_about_the_scarcer_quota(services: ScriptedServices, clock: Clock) -> None:
    client = client_of(services, key("infer", requests_per_minute=4, bytes_per_minute=1000))
    first = client.post("/generate", json=PASSAGE, headers=bearer("infer"))
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("4", "3")
    second = client.post("/generate", json={"passage": "a" * 700}, headers=bearer("infer"))
    assert second.headers["RateLimit-Limit"] == "1000"


def test_each_key_has_a_quota_of_its_own(services: ScriptedServices, clock: Clock) -> None:
    client = client_of(services, key("infer", requests_per_minute=1), key("admin"))
    assert [client.post("/generate", json=PASSAGE, headers=bearer("infer")).status_code for _ in range(2)] == [200, 429]
    assert client.get("/info", headers=bearer("admin")).status_code == 200


def test_refused_requests_are_not_counted(services: ScriptedServices, clock: Clock) -> None:
    client = client_of(services, key("infer", requests_per_minute=1))
    assert client.get("/info", headers=bearer("infer")).status_code == 403
    answers = [client.post("/generate", json=PASSAGE, headers=bearer("infer")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].headers["Retry-After"] == answers[2].headers["Retry-After"]


def test_a_key_without_quota_gets_no_headers(services: ScriptedServices, clock: Clock) -> None:
    response = client_of(services, key("infer")).post("/generate", json=PASSAGE, headers=bearer("infer"))
    assert rate_limit(response.headers) == {}
