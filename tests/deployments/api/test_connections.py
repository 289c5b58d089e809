import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from deployments.api.app import make_api
from tests.deployments.api.conftest import URL, ScriptedServices
from tests.deployments.api.test_problems import is_problem

JSON = {"Content-Type": "application/json"}
TWICE = b'{"passage": "a", "passage": "b"}'


@pytest.mark.parametrize(
    "path", ["/generate%0A", "/generate%0D", "/generate/%0A", "/pred/file/%0A", "/%00", "/generate%7F"]
)
def test_a_path_with_control_characters_is_no_route(client: TestClient, services: ScriptedServices, path: str) -> None:
    is_problem(client.post(path, content=TWICE, headers=JSON), 404)
    assert services.cola.asked == []


def test_the_limits_hold_behind_the_prefix_of_a_proxy(services: ScriptedServices) -> None:
    outer = FastAPI()
    outer.mount("/prefix", make_api(services))
    client = TestClient(outer, URL)
    assert client.post("/prefix/generate", json={"passage": "It works."}).status_code == 200
    is_problem(client.post("/prefix/generate", content=TWICE, headers=JSON), 400)


@pytest.mark.parametrize("path", ["/generate", "/pred/file/", "/nothing", "/healthz"])
def test_a_refusal_before_the_whole_body_closes_the_connection(client: TestClient, path: str) -> None:
    refused = client.post(path, content=b"{}", headers={"Content-Type": "text/plain", "Content-Length": "2"})
    assert refused.status_code in (404, 405, 415)
    assert refused.headers["connection"] == "close"


def test_an_answer_to_a_whole_body_or_none_keeps_the_connection(client: TestClient) -> None:
    assert "connection" not in client.post("/generate", json={"passage": "It works."}).headers
    assert "connection" not in client.post("/generate", content=TWICE, headers=JSON).headers
    assert "connection" not in client.get("/healthz").headers


def test_a_path_without_a_body_ignores_a_short_one_and_refuses_a_long_one(client: TestClient) -> None:
    assert client.request("GET", "/info", content=b"{}").status_code == 200
    is_problem(client.request("GET", "/info", content=b"x" * 70_000), 413)
    is_problem(client.request("GET", "/info", content=iter([b"x"])), 413)
