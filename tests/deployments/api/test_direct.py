"""The fast path must answer as the usual path does, which an app without direct routes takes for every request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from deployments.api.app import BODIES, DIRECT, make_api
from deployments.api.bodies import Bodies
from deployments.api.direct import Direct
from deployments.settings import IngressSettings, Settings
from pipelines.errors import MunjangError, Overloaded, StageUnavailable
from pipelines.sts.pipeline import Similarity
from tests.deployments.api.conftest import URL, Scripted, ScriptedServices

VALID = {
    "/pred/sentences/": {"sentence_1": "가 나", "sentence_2": "é\u2028\\", "more": [1, {}]},
    "/generate": {"passage": "I are a boy"},
    "/api": {"question": "무엇?", "context": "그것은 산이다."},
    "/v1/embeddings": {"input": ["가 나", [5, 6]], "model": "sts"},
    "/embed": {"inputs": ["가 나", [5, 6]]},
}
KEYS = ["sentence_1", "sentence_2", "passage", "question", "context", "other"]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text()))
REFUSED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"passage": "\xff"}',
    b'{"passage": "\\ud800"}',
    b'{"passage": NaN}',
    b'{"passage": "a", "other": 1e999}',
    b'{"passage": "a", "passage": "b"}',
    b'{"passage": " "}',
    b'\xef\xbb\xbf{"passage": "a"}',
    b"[" * 100_000,
]


def clients_of(services: ScriptedServices) -> list[TestClient]:
    """A client of the fast path and one of the usual path."""
    return [TestClient(make_api(services, direct), URL, raise_server_exceptions=False) for direct in (DIRECT, {})]


def both_paths(clients: list[TestClient], path: str, content: bytes) -> list[Any]:
    """Status, body and headers of both paths, without the values that differ between any two answers."""
    answers = []
    for client in clients:
        response = client.post(path, content=content, headers={"content-type": "application/json"})
        answer, answered = response.json(), dict(response.headers)
        assert int(answered.pop("content-length")) == len(response.content)
        if isinstance(answer, dict):
            answer.pop("runtime(sec)", None)
        answers.append((response.status_code, list(answer), answer, answered))
    return answers


async def usual_path(*_: Any) -> None:
    raise AssertionError("the request took the usual path")


@pytest.mark.parametrize("path", DIRECT)
def test_a_valid_request_takes_the_fast_path_with_and_without_trailing_slash(
    services: ScriptedServices, path: str
) -> None:
    direct = Direct(usual_path, routes=DIRECT, services=services)
    client = TestClient(Bodies(direct, kinds=BODIES, settings=services.settings.ingress))
    for form in (path.rstrip("/"), f"{path.rstrip('/')}/"):
        assert client.post(form, json=VALID[path]).status_code == 200


@pytest.mark.parametrize("path", DIRECT)
def test_both_paths_give_the_same_answer(services: ScriptedServices, path: str) -> None:
    fast, usual = both_paths(clients_of(services), path, json.dumps(VALID[path]).encode())
    assert fast == usual
    assert fast[0] == 200


@pytest.mark.parametrize("content", REFUSED, ids=lambda content: repr(content[:24]))
def test_both_paths_refuse_the_same_bodies(services: ScriptedServices, content: bytes) -> None:
    fast, usual = both_paths(clients_of(services), "/generate", content)
    assert fast == usual


CLIENTS = clients_of(ScriptedServices())


@given(fields=st.dictionaries(st.sampled_from(KEYS), VALUES), path=st.sampled_from(sorted(DIRECT)))
def test_both_paths_give_the_same_answer_for_any_fields(fields: dict[str, Any], path: str) -> None:
    fast, usual = both_paths(CLIENTS, path, json.dumps(fields).encode())
    assert fast == usual


@pytest.mark.parametrize("error", [Overloaded(3.2), StageUnavailable("StsEncoder"), RuntimeError("secret")])
def test_both_paths_fail_with_the_same_answer(services: ScriptedServices, error: Exception) -> None:
    def fail(pair: object) -> Similarity:
        raise error

    services.sts = Scripted(fail)
    fast, usual = both_paths(clients_of(services), "/pred/sentences/", json.dumps(VALID["/pred/sentences/"]).encode())
    assert fast == usual
    assert fast[0] == (500 if not isinstance(error, MunjangError) else {Overloaded: 429}.get(type(error), 503))
    assert "secret" not in str(fast)


def test_both_paths_report_truncation(services: ScriptedServices) -> None:
    services.sts = Scripted(lambda pair: Similarity(0.5, False, True, "digest"))
    fast, usual = both_paths(clients_of(services), "/pred/sentences/", json.dumps(VALID["/pred/sentences/"]).encode())
    assert fast == usual
    assert fast[3]["x-truncated"] == "true"


def test_both_paths_refuse_a_body_over_the_limit(services: ScriptedServices) -> None:
    services.settings = Settings(ingress=IngressSettings(max_body_bytes=40))
    fast, usual = both_paths(clients_of(services), "/generate", json.dumps({"passage": "a" * 41}).encode())
    assert fast == usual
    assert fast[0] == 413


@pytest.mark.parametrize("path", DIRECT)
def test_a_body_in_several_chunks_is_read_completely(client: TestClient, path: str) -> None:
    content = json.dumps(VALID[path]).encode()
    pieces = iter([content[:5], content[5:9], content[9:]])
    response = client.post(path, content=pieces, headers={"content-type": "application/json"})
    assert response.status_code == 200
