"""Which key opens which route."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from deployments.api.access import FOLDER_SCOPES, PUBLIC, PUBLIC_FOLDER, ROUTE_SCOPES, Access
from deployments.api.app import make_api
from deployments.api.clients.errors import shape_of
from deployments.keys import SCOPES, Key, Scope
from deployments.settings import AccessSettings, IngressSettings, Settings
from deployments.valid_keys import KEY_VARIABLE, ValidKeys
from tests.deployments.api.conftest import ScriptedServices
from tests.deployments.api.test_direct import VALID
from tests.deployments.api.test_problems import is_problem

SECRETS = {scope: f"secret-of-{scope}-5f3a" for scope in SCOPES}


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key(scope: Scope, **quotas: int) -> Key:
    return Key(name=scope, sha256=sha256(SECRETS[scope]), scopes=frozenset({scope}), **quotas)


def bearer(scope: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[scope]}"}


def closed(services: ScriptedServices, *keys: Key) -> FastAPI:
    access = AccessSettings(keys=keys or tuple(key(scope) for scope in SCOPES))
    services.settings = Settings(ingress=IngressSettings(access=access))
    return make_api(services)


@pytest.fixture
def app(services: ScriptedServices) -> FastAPI:
    return closed(services)


@pytest.fixture
def guarded(app: FastAPI) -> TestClient:
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False)


def paths_of(routes: list[BaseRoute]) -> Iterator[str]:
    """A path of each route; below a mount, one of a file."""
    for route in routes:
        if isinstance(route, Mount):
            yield f"{route.path}/page.js"
        elif isinstance(route, Route):
            yield route.path
        else:
            yield from paths_of(route.original_router.routes)  # type: ignore[attr-defined]


def all_paths() -> list[str]:
    """All paths of the app, in both forms, in which a trailing slash is there or not."""
    paths = list(paths_of(make_api(ScriptedServices()).routes))
    assert {"/generate", "/docs", "/openapi.json", "/static/page.js", "/swagger/page.js"} <= set(paths)
    return sorted({form for path in paths for form in (path, f"{path.rstrip('/')}/", path.rstrip("/") or "/")})


def public(path: str) -> bool:
    return (path.rstrip("/") or "/") in PUBLIC or path.startswith(PUBLIC_FOLDER)


PRIVATE_PATHS = [path for path in all_paths() if not public(path)]


def test_every_route_declares_its_scope_or_is_public(app: FastAPI) -> None:
    declared = {*ROUTE_SCOPES, *PUBLIC}
    undeclared = [
        path
        for path in paths_of(app.routes)
        if path not in declared and not public(path) and not path.startswith(tuple(FOLDER_SCOPES))
    ]
    assert undeclared == ["/swagger/page.js"]  # the files of /docs, which needs `admin`, too


@pytest.mark.parametrize("path", PRIVATE_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_without_a_key_every_private_route_is_401(guarded: TestClient, method: str, path: str) -> None:
    response = guarded.request(method, path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="munjang"'
    shaped = shape_of(path) is not None
    assert response.headers["Content-Type"] == ("application/json" if shaped else "application/problem+json")


@pytest.mark.parametrize("path", PRIVATE_PATHS)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_the_routes_of_its_scope_alone(guarded: TestClient, scope: Scope, path: str) -> None:
    forms = (path, path.rstrip("/"), f"{path}/")
    folders = [scope for folder, scope in FOLDER_SCOPES.items() if path.startswith(folder)]
    needed = next((ROUTE_SCOPES[form] for form in forms if form in ROUTE_SCOPES), (*folders, "admin")[0])
    response = guarded.get(path, headers=bearer(scope))
    if scope == needed:
        assert response.status_code not in (401, 403)
        return
    assert response.status_code == 403
    if shape_of(path) is None:
        is_problem(response, 403)
    assert needed in response.text
    assert response.headers["WWW-Authenticate"].endswith(f'error="insufficient_scope", scope="{needed}"')


def test_the_page_its_files_and_healthz_need_no_key(guarded: TestClient) -> None:
    for path in ("/", "/static/page.js", "/static/page.css", "/healthz", "/healthz/"):
        assert guarded.get(path, headers={"Accept": "text/html"}).status_code == 200


def test_a_route_that_is_added_without_a_scope_needs_admin(app: FastAPI) -> None:
    @app.get("/new")
    async def new() -> None: ...

    client = TestClient(app)
    assert client.get("/new").status_code == 401
    statuses = {scope: client.get("/new", headers=bearer(scope)).status_code for scope in SCOPES}
    assert statuses == {"infer": 403, "upload": 403, "chat": 403, "admin": 200}


def test_unknown_paths_look_like_private_ones(guarded: TestClient) -> None:
    for path in ("/nothing", "/healthz/x", "/static", "/generate/x", "/HEALTHZ", "/static%2f..%2finfo"):
        assert guarded.get(path).status_code in (401, 404), path
    assert guarded.get("/nothing").status_code == 401
    is_problem(guarded.get("/nothing", headers=bearer("admin")), 404)


def test_nothing_below_the_public_folder_leads_out_of_it(guarded: TestClient) -> None:
    for path in ("/static/../info", "/static/..%2finfo", "/static/%2e%2e/readyz", "/static//info"):
        response = guarded.get(path)
        assert response.status_code in (401, 404), path
        assert "munjang" not in response.json()


@pytest.mark.parametrize("path", VALID)
def test_a_valid_request_is_answered_with_its_key_and_not_scored_without(
    guarded: TestClient, services: ScriptedServices, path: str
) -> None:
    assert guarded.post(path, json=VALID[path]).status_code == 401
    assert services.sts.asked == services.cola.asked == services.qa.asked == services.embeddings.asked == []
    assert guarded.post(path, json=VALID[path], headers=bearer("infer")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {SECRETS['admin']}"},
        {"Authorization": f"bearer  {SECRETS['admin']} "},
        {"X-API-Key": SECRETS["admin"]},
        {"Authorization": SECRETS["admin"]},  # as LlamaIndex's ranker sends it
        {"Authorization": "nothing", "X-API-Key": SECRETS["admin"]},
        {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": SECRETS["admin"]},  # a proxy in front asks for a password
    ],
)
def test_a_key_is_read_from_either_header(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.get("/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong-key-5f3a"},
        {"Authorization": f"Basic {SECRETS['admin']}"},
        {"Authorization": "Bearer", "X-API-Key": SECRETS["admin"]},
        {"Authorization": "Basic " + SECRETS["admin"]},
        {"Authorization": SECRETS["admin"] + "x"},
        {"Authorization": "Bearer wrong-key-5f3a", "X-API-Key": SECRETS["admin"]},
        {"X-API-Key": sha256(SECRETS["admin"])},
        {"X-API-Key": SECRETS["admin"][:-1]},
        {"X-API-Key": "키".encode()},
        {"X-API-Key": ""},
        {"Cookie": f"X-API-Key={SECRETS['admin']}"},
    ],
)
def test_a_wrong_key_is_401_and_not_repeated(guarded: TestClient, headers: Any) -> None:
    response = guarded.get("/info", headers=headers)
    is_problem(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "5f3a" not in response.text + str(response.headers)


def test_a_key_in_the_address_does_not_count(guarded: TestClient) -> None:
    is_problem(guarded.get("/info", params={"api_key": SECRETS["admin"], "X-API-Key": SECRETS["admin"]}), 401)


def test_the_hash_of_an_empty_secret_opens_nothing(services: ScriptedServices) -> None:
    client = TestClient(closed(services, Key(name="empty", sha256=sha256(""), scopes=frozenset(SCOPES))))
    for headers in ({}, {"X-API-Key": ""}, {"Authorization": "Bearer "}):
        is_problem(client.get("/info", headers=headers), 401)


def test_the_key_of_the_environment_opens_everything(
    services: ScriptedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a-key-of-the-environment")
    client = TestClient(make_api(services))
    assert client.get("/info").status_code == 401
    for path in PRIVATE_PATHS:
        assert client.get(path, headers={"X-API-Key": "a-key-of-the-environment"}).status_code not in (401, 403)


def test_a_websocket_is_refused(app: FastAPI) -> None:
    @app.websocket("/")
    async def unguarded(websocket: Any) -> None:
        raise AssertionError("reached")

    with pytest.raises(WebSocketDisconnect), TestClient(app).websocket_connect("/", headers=bearer("admin")):
        pass


def test_an_empty_file_of_keys_closes_the_server(services: ScriptedServices, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.touch()
    services.settings = Settings(ingress=IngressSettings(access=AccessSettings(keys_file=str(file))))
    assert TestClient(make_api(services)).get("/info", headers=bearer("admin")).status_code == 401


def test_without_configured_keys_there_is_no_middleware(services: ScriptedServices) -> None:
    assert Access not in [middleware.cls for middleware in make_api(services).user_middleware]


def test_a_key_appears_in_no_log_record_and_no_answer(
    services: ScriptedServices, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> Any:
        raise RuntimeError("failed")

    caplog.set_level("DEBUG")
    services.cola.answer = fail
    client = TestClient(closed(services), raise_server_exceptions=False)
    for headers in (bearer("infer"), bearer("chat"), {"X-API-Key": SECRETS["admin"]}, {"X-API-Key": "wrong-5f3a"}):
        for path in ("/generate", "/info", "/nothing"):
            response = client.post(path, json=VALID["/generate"], headers=headers)
            assert "5f3a" not in response.text + str(response.headers)
    assert caplog.records
    assert "5f3a" not in caplog.text


def test_all_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(stored: str, presented: str) -> bool:
        compared.append(stored)
        return stored == presented

    monkeypatch.setattr("deployments.valid_keys.hmac.compare_digest", compare)
    keys = [key(scope) for scope in SCOPES]
    assert ValidKeys(keys).find(SECRETS["infer"].encode()) == keys[0]
    assert compared == [one.sha256 for one in keys]  # also those after the one that is found
