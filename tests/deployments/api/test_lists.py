import asyncio
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.cola.pipeline import Acceptability
from pipelines.errors import EngineError, Overloaded
from tests.deployments.api.conftest import Scripted, ScriptedServices

CONTEXT = "가나다라"
ROUTES = {
    "/v1/similarity": ("pairs", ["가", "나"], {}),
    "/v1/acceptability": ("passages", "I are a boy", {}),
    "/v1/answers": ("questions", "무엇?", {"context": CONTEXT}),
}
BAD: list[tuple[Any, int]] = [(3, 422), (None, 422), ("", 422), ("\ud800", 422), ("a\0", 422), ("가" * 10_001, 413)]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("bad", "status"), BAD, ids=["number", "null", "blank", "surrogate", "nul", "long"])
def test_a_bad_item_has_its_own_error_and_its_neighbours_their_results(
    client: TestClient, path: str, bad: Any, status: int
) -> None:
    field, good, rest = ROUTES[path]
    item = [good[0], bad] if isinstance(good, list) else bad
    content = json.dumps({field: [good, item, good], **rest})  # in ASCII, so that half of a surrogate pair is possible
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"}).json()
    first, second, third = answer["results"]
    assert first == third
    assert "error" not in first
    assert second["error"]["status"] == status
    where = f"/{field}/1/1" if isinstance(good, list) else f"/{field}/1"
    assert where in second["error"]["detail"]


def test_what_is_no_pair_has_an_error(client: TestClient) -> None:
    answer = client.post("/v1/similarity", json={"pairs": [["가"], "가나", ["가", "나", "다"], {"a": "b"}]})
    assert answer.status_code == 200
    assert [one["error"]["errors"][0]["code"] for one in answer.json()["results"]] == ["not_a_pair"] * 4


def test_an_item_on_which_the_model_failed_has_its_own_error(client: TestClient, services: ScriptedServices) -> None:
    services.passage_lists = Scripted(
        lambda text: EngineError("RuntimeError") if text == "bad" else Acceptability(0.5, True, False, 4, "digest")
    )
    answer = client.post("/v1/acceptability", json={"passages": ["good", "bad"]})
    good, bad = answer.json()["results"]
    assert good == {"probability": 0.5, "acceptable": False, "truncated": True}
    assert bad["error"]["status"] == 500
    assert answer.json()["usage"] == {"tokens": 4}
    assert answer.headers["X-Truncated"] == "true"


@pytest.mark.parametrize("path", ROUTES)
def test_an_error_that_is_no_items_fault_fails_the_request(
    client: TestClient, services: ScriptedServices, path: str
) -> None:
    def refuse(_: Any) -> Any:
        raise Overloaded(3)

    services.pair_lists = services.passage_lists = services.readings = Scripted(refuse)
    field, good, rest = ROUTES[path]
    answer = client.post(path, json={field: [good], **rest})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("items", [[], "text", None, ["가"] * 2049], ids=["none", "a text", "null", "too many"])
def test_no_list_an_empty_one_and_a_long_one_are_422(client: TestClient, path: str, items: Any) -> None:
    field, _, rest = ROUTES[path]
    assert client.post(path, json={field: items, **rest}).status_code == 422


def test_each_question_gets_the_most_probable_pieces_of_the_context(
    client: TestClient, services: ScriptedServices
) -> None:
    answer = client.post("/v1/answers", json={"questions": ["무엇?", "왜?"], "context": CONTEXT, "top_k": 2}).json()
    assert answer["results"][0] == answer["results"][1]
    assert answer["results"][0]["answers"] == [
        {"answer": "나다", "start": 1, "end": 3, "score": 9.0, "probability": 0.75},
        {"answer": "가", "start": 0, "end": 1, "score": 7.5, "probability": 0.125},
    ]
    rest = {key: value for key, value in answer["results"][0].items() if key != "answers"}
    assert rest == {
        "answerable": True,
        "null_score": 7.0,
        "null_probability": 0.0625,
        "windows": 2,
        "truncated": False,
    }
    assert answer["usage"] == {"tokens": 22}
    one = client.post("/v1/answers", json={"questions": ["무엇?"], "context": CONTEXT}).json()
    assert len(one["results"][0]["answers"]) == 1


def test_items_that_are_bad_are_not_submitted(services: ScriptedServices, client: TestClient) -> None:
    client.post("/v1/similarity", json={"pairs": [["가", " "], ["가", "나"]]})
    assert services.pair_lists.asked == [("가", "나")]
    assert asyncio.run(services.pair_lists.submit_each([])) == []
