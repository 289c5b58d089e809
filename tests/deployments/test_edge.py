from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from deployments.edge import MAX_HEADER_BYTES, middlewares


async def headers(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.headers))


async def dropped(_: Request) -> Response:
    def words() -> Iterator[str]:
        yield "Request dropped "
        yield "due to backpressure"

    kept = {"Retry-After": "1", "X-Request-ID": "req-1"}
    return StreamingResponse(words(), 429, kept, media_type="text/plain")


async def problem(_: Request) -> Response:
    return JSONResponse({"detail": "own"}, 422, media_type="application/problem+json")


async def gone(_: Request) -> Response:
    return PlainTextResponse("client disconnected", 499)


async def probe(_: Request) -> Response:
    return PlainTextResponse("unhealthy", 503)


@pytest.fixture
def client() -> TestClient:
    routes = [Route(f"/{route.__name__}", route) for route in (headers, dropped, problem, gone)]
    app = Starlette(routes=[*routes, Route("/-/healthz", probe)], middleware=middlewares())
    return TestClient(app)


@pytest.mark.parametrize(
    "name",
    ["X-Request-Timeout-Seconds", "x-request-disconnect-disabled", "X-Session-Id", "serve_multiplexed_model_id"],
)
def test_a_header_that_steers_serve_is_not_passed_on(client: TestClient, name: str) -> None:
    passed = client.get("/headers", headers={name: "0.000001", "X-Other": "kept"}).json()
    assert name.lower() not in passed
    assert passed["x-other"] == "kept"


@pytest.mark.parametrize(("value", "passes"), [("req-1", True), ("a b", False), ("x" * 129, False), ("", False)])
def test_only_a_short_printable_request_id_is_passed_on(client: TestClient, value: str, passes: bool) -> None:
    assert ("x-request-id" in client.get("/headers", headers={"X-Request-ID": value}).json()) == passes


def test_headers_over_their_limit_are_431(client: TestClient) -> None:
    answer = client.get("/headers", headers={"X-Large": "x" * MAX_HEADER_BYTES})
    assert (answer.status_code, answer.headers["content-type"]) == (431, "application/problem+json")
    assert answer.json()["instance"] == answer.headers["x-request-id"]
    assert client.get("/headers", headers={"X-Large": "x" * (MAX_HEADER_BYTES - 1000)}).status_code == 200


def test_an_error_of_serve_becomes_a_problem_with_its_headers(client: TestClient) -> None:
    answer = client.get("/dropped")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert (answer.json()["status"], answer.json()["instance"]) == (429, "req-1")


def test_problems_and_the_probes_of_load_balancers_are_left_as_they_are(client: TestClient) -> None:
    assert client.get("/problem").json() == {"detail": "own"}
    assert client.get("/-/healthz").text == "unhealthy"


def test_only_the_probes_themselves_are_left_as_they_are(client: TestClient) -> None:
    assert client.get("/-/other").headers["content-type"] == "application/problem+json"


def test_the_status_that_serve_gives_to_clients_that_are_gone_is_no_failure(client: TestClient) -> None:
    assert client.get("/gone").status_code == 499
