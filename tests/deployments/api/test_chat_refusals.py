"""Requests that the chat's routes refuse without calling the provider."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.settings import ChatSettings, Settings
from tests.deployments.api.chats import ASKED, BOTH, EVENTS, KEY
from tests.deployments.api.conftest import ScriptedServices
from tests.deployments.api.test_problems import is_problem
from tests.openai_server import OpenAiServer


@BOTH
@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    "db_path", ["other", "", "../checkpoints/sts", "/etc/passwd", "file:///etc", "a\\..\\b", "a\x00"]
)
def test_every_missing_store_and_every_path_outside_gets_the_same_404(
    asking: TestClient, path: str, headers: dict[str, str], db_path: str
) -> None:
    problem = is_problem(asking.post(path, json=ASKED | {"db_path": db_path}, headers=headers), 404)
    assert problem == is_problem(asking.post(path, json=ASKED | {"db_path": "none"}, headers=headers), 404)


CASES: list[tuple[dict[str, Any], str]] = [
    ({"api_key": ""}, "/api_key"),
    ({"api_key": "  "}, "/api_key"),
    ({"api_key": f"{KEY}\r\nX-Other: 1"}, "/api_key"),
    ({"api_key": f"{KEY}\n"}, "/api_key"),
    ({"api_key": f"{KEY} "}, "/api_key"),
    ({"api_key": f"{KEY}열쇠"}, "/api_key"),
    ({"api_key": f"{KEY}\x00"}, "/api_key"),
    ({"api_key": KEY * 80_000}, "/api_key"),
    ({"api_key": None}, "/api_key"),
    ({"api_key": [KEY]}, "/api_key"),
    ({"api_key": {"a": KEY}}, "/api_key"),
    ({"prompt": ""}, "/prompt"),
    ({"prompt": " \n"}, "/prompt"),
    ({"prompt": 3}, "/prompt"),
    ({"prompt": "누구\ud800"}, "/prompt"),
    ({"prompt": "\u200b\u200d \ufeff"}, "/prompt"),
    ({"prompt": "누구\x00"}, "/prompt"),
    ({"db_path": "a\ud800"}, "/db_path"),
    ({"api_key": f"{KEY}\ud800"}, "/api_key"),
    ({"prompt": None, "api_key": KEY}, "/prompt"),
    ({"db_path": "a" * 1025}, "/db_path"),
    ({"db_path": 1}, "/db_path"),
]


@BOTH
@pytest.mark.parametrize(("fields", "pointer"), CASES, ids=lambda value: repr(value)[:40])
def test_an_invalid_field_is_named_and_the_provider_is_not_called(
    generating: TestClient, provider: OpenAiServer, path: str, fields: dict[str, Any], pointer: str
) -> None:
    content = json.dumps(ASKED | fields)  # escaped as ASCII, so that it can have half a surrogate pair
    response = generating.post(path, content=content, headers={"Content-Type": "application/json"})
    problem = is_problem(response, 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert KEY not in response.text
    assert provider.calls == []


@pytest.mark.parametrize("field", ["prompt", "api_key", "db_path"])
def test_a_missing_field_is_named(asking: TestClient, field: str) -> None:
    problem = is_problem(asking.post("/chat/", json={name: text for name, text in ASKED.items() if name != field}), 422)
    assert problem["errors"] == [{"pointer": f"/{field}", "code": "missing", "detail": "Field required"}]


def test_a_prompt_over_its_limit_is_413(services: ScriptedServices, asking: TestClient) -> None:
    services.settings = Settings(chat=ChatSettings(max_prompt_characters=5))
    problem = is_problem(asking.post("/chat/", json=ASKED | {"prompt": "가" * 6}), 413)
    assert "prompt" in problem["detail"]
    is_problem(asking.post("/chat/", json=ASKED | {"prompt": "가" * 2**20}), 413)


@pytest.mark.parametrize("content", [b"{", b'{"prompt": "a",}'])
def test_a_body_that_is_not_json_is_400(asking: TestClient, content: bytes) -> None:
    is_problem(asking.post("/chat/", content=content, headers={"Content-Type": "application/json"}), 400)
