"""Which names a server answers to: a page of another site may have made its own name lead to loopback."""

from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.api.hosts import name_of
from deployments.settings import AccessSettings, IngressSettings, Settings
from deployments.valid_keys import KEY_VARIABLE
from tests.deployments.api.conftest import URL, ScriptedServices
from tests.deployments.api.test_direct import VALID
from tests.deployments.api.test_problems import is_problem

KEY = "a-key-of-the-environment"
LOOPBACK = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:8000", "127.8.9.10", "[::1]:8000", "[::1]"]
OTHERS = [
    "attacker.example",
    "attacker.example:8000",
    "localhost.attacker.example",
    "127.0.0.1.attacker.example",
    "attacker.example:localhost",
    "[attacker.example]",
    "192.0.2.1",
    "0.0.0.0",
    "127.0.0.1@attacker.example",
    "",
]


def asking(services: ScriptedServices, **access: Any) -> TestClient:
    services.settings = Settings(ingress=IngressSettings(access=AccessSettings(**access)))
    return TestClient(make_api(services), URL, raise_server_exceptions=False)


def statuses(client: TestClient, host: str, **headers: str) -> set[int]:
    """The statuses of a page, a direct route, a route through FastAPI and a path that does not exist."""
    named = headers | {"Host": host}
    answers = [client.get(path, headers=named) for path in ("/", "/info", "/static/page.js", "/docs")]
    answers += [client.post(path, json=body, headers=named) for path, body in VALID.items()]
    return {answer.status_code for answer in answers}


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_server_with_a_list_of_names_answers_to_those_of_loopback(services: ScriptedServices, host: str) -> None:
    assert statuses(asking(services, hosts=()), host) == {200}


@pytest.mark.parametrize("host", OTHERS)
def test_a_server_with_a_list_of_names_answers_to_no_other_name(services: ScriptedServices, host: str) -> None:
    client = asking(services, hosts=())
    assert statuses(client, host) == {421}
    assert client.get("/nothing", headers={"Host": host}).status_code == 421
    problem = is_problem(client.get("/info", headers={"Host": host}), 421)
    assert "ingress.access.hosts" in problem["detail"]
    assert "attacker" not in str(problem)
    assert services.cola.asked == services.sts.asked == services.qa.asked == []


def test_one_wrong_name_of_two_is_enough_to_refuse_a_request(services: ScriptedServices) -> None:
    both = [("Host", "localhost"), ("Host", "attacker.example")]
    for headers in (both, both[::-1]):
        assert asking(services, hosts=()).get("/info", headers=headers).status_code == 421


def test_a_request_without_a_name_is_answered_since_no_browser_sends_it(services: ScriptedServices) -> None:
    app, sent = asking(services, hosts=()).app, []
    scope = {"type": "http", "method": "GET", "path": "/info", "headers": [], "query_string": b"", "root_path": ""}

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    with TestClient(app) as client:
        assert client.portal is not None
        client.portal.call(app, scope, receive, send)
    assert sent[0]["status"] == 200


def test_probes_may_name_the_server_by_any_address(services: ScriptedServices) -> None:
    assert asking(services, hosts=()).get("/healthz", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_names_can_be_added_with_and_without_keys(services: ScriptedServices, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (None, KEY):
        if key:
            monkeypatch.setenv(KEY_VARIABLE, key)
        client = asking(services, hosts=("Munjang.example", "2001:db8::1"))
        for host in ("munjang.example", "munjang.EXAMPLE:8000", "[2001:db8::1]:8000", "localhost"):
            assert statuses(client, host, **{"X-API-Key": key or ""}) == {200}
        assert statuses(client, "other.example", **{"X-API-Key": key or ""}) == {421}


def test_without_a_list_every_name_is_answered(services: ScriptedServices) -> None:
    assert statuses(asking(services), "munjang.example") == {200}


@pytest.mark.parametrize(
    "host", ["munjang.example:8000", "http://munjang.example", "*", "*.example", "[::1]", "a b", ""]
)
def test_what_can_never_be_a_name_is_refused_as_a_setting(host: str) -> None:
    with pytest.raises(ValidationError):
        AccessSettings(hosts=(host,))


def test_a_name_that_is_not_utf_8_is_read_all_the_same() -> None:
    assert name_of("münchen.example:8000".encode("latin-1")) == "münchen.example"
