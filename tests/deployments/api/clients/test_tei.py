from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.errors import Overloaded, WrongKind
from pipelines.sts.pipeline import Similarity
from tests.deployments.api.conftest import VECTOR, Scripted, ScriptedServices

ACCEPTABLE = [{"score": 0.75, "label": "acceptable"}, {"score": 0.25, "label": "unacceptable"}]


@pytest.mark.parametrize("path", ["/embed", "/"])
@pytest.mark.parametrize(("inputs", "number"), [("가", 1), (["가", "나"], 2), ([5, 6], 1), (["가", [5]], 2)])
def test_embed_always_answers_a_list_of_embeddings(client: TestClient, path: str, inputs: Any, number: int) -> None:
    answer = client.post(path, json={"inputs": inputs, "normalize": False, "truncate": True})
    assert answer.json() == [VECTOR.tolist()] * number


def test_a_prompt_is_chosen_by_its_name(client: TestClient, services: ScriptedServices) -> None:
    client.post("/embed", json={"inputs": "가", "prompt_name": "query"})
    assert services.embeddings.asked == [("가", "query")]
    assert client.post("/embed", json={"inputs": "가", "prompt_name": "other"}).status_code == 422


@pytest.mark.parametrize("more", [{"truncate": False}, {"truncation_direction": "Left"}])
def test_a_cut_that_the_caller_does_not_want_is_refused(client: TestClient, more: dict[str, Any]) -> None:
    assert client.post("/embed", json={"inputs": "short", **more}).status_code == 200
    answer = client.post("/embed", json={"inputs": "too long", **more})
    assert answer.status_code == 422
    assert client.post("/embed", json={"inputs": "too long"}).headers["X-Truncated"] == "true"


def test_similarity_answers_cosines_and_refuses_a_cross_encoder(client: TestClient, services: ScriptedServices) -> None:
    body = {"inputs": {"source_sentence": "가", "sentences": ["나", "다"]}}
    assert client.post("/similarity", json=body).json() == [0.5, 0.5]
    assert services.pair_lists.asked == [("가", "나"), ("가", "다")]
    services.pair_lists = Scripted(lambda pair: Similarity(4.0, True, False, "digest", "cross-encoder"))
    refused = client.post("/similarity", json=body)
    assert (refused.status_code, refused.json()["error_type"]) == (424, "Backend")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [("a", ACCEPTABLE), (["a"], ACCEPTABLE), ([["a"]], [ACCEPTABLE]), ([["a"], ["b"]], [ACCEPTABLE, ACCEPTABLE])],
)
def test_predict_takes_a_text_and_a_batch(client: TestClient, inputs: Any, expected: Any) -> None:
    assert client.post("/predict", json={"inputs": inputs}).json() == expected


def test_predict_takes_two_texts_as_one_pair_for_a_cross_encoder(
    client: TestClient, services: ScriptedServices
) -> None:
    assert client.post("/predict", json={"inputs": ["a", "b"]}).status_code == 424
    services.pair_lists = Scripted(lambda pair: Similarity(4.0, True, False, "digest", "cross-encoder"))
    pair = [{"score": 0.8, "label": "similarity"}]
    assert client.post("/predict", json={"inputs": ["a", "b"]}).json() == pair
    assert client.post("/predict", json={"inputs": [["a"], ["a", "b"]]}).json() == [ACCEPTABLE, pair]
    assert services.pair_lists.asked == [("a", "b")] * 2


@pytest.mark.parametrize(
    "inputs", [None, 3, "", [], [[]], ["a", "b", "c"], [["a", "b", "c"]], ["a", ["b"]], [["a"], 3]]
)
def test_predict_refuses_other_forms(client: TestClient, inputs: Any) -> None:
    answer = client.post("/predict", json={"inputs": inputs})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")


def test_tokens_are_shown_with_their_places(client: TestClient) -> None:
    own = [{"id": 97 + at, "text": "ab"[at], "special": False, "start": at, "stop": at + 1} for at in range(2)]
    special = {"id": 0, "text": "<s>", "special": True, "start": None, "stop": None}
    assert client.post("/tokenize", json={"inputs": "ab"}).json() == [[special, *own]]
    plain = client.post("/tokenize", json={"inputs": ["ab", "a"], "add_special_tokens": False}).json()
    assert plain == [own, own[:1]]


@pytest.mark.parametrize(("ids", "texts"), [([1, 2], ['"#']), ([[1], [2]], ['"', "#"])])
def test_ids_are_decoded(client: TestClient, ids: Any, texts: list[str]) -> None:
    assert client.post("/decode", json={"ids": ids}).json() == texts


def test_health_is_200_and_info_has_teis_fields(client: TestClient) -> None:
    assert client.get("/health").status_code == client.get("/ping").status_code == 200
    info = client.get("/info").json()
    assert {"model_id", "model_sha", "model_type", "max_input_length", "max_client_batch_size", "version"} <= set(info)
    assert {"munjang", "tasks"} <= set(info)


def test_errors_at_the_root_have_teis_shape_only_if_texts_were_sent(client: TestClient) -> None:
    refused = client.post("/", json={"inputs": []})
    assert (refused.status_code, refused.json()["error_type"]) == (422, "Empty")
    assert client.post("/", content=b"{", headers={"Content-Type": "application/json"}).json()["error_type"]
    other = client.delete("/")
    assert (other.status_code, other.headers["Content-Type"]) == (405, "application/problem+json")


def test_errors_have_teis_shape(client: TestClient, services: ScriptedServices) -> None:
    def fail(error: Exception) -> Any:
        def raising(_: Any) -> Any:
            raise error

        return Scripted(raising)

    services.embeddings = fail(Overloaded(2))
    busy = client.post("/embed", json={"inputs": "가"})
    assert (busy.status_code, busy.headers["Retry-After"], busy.json()["error_type"]) == (429, "2", "Overloaded")
    services.embeddings = fail(WrongKind("no embeddings"))
    wrong = client.post("/embed", json={"inputs": "가"})
    assert (wrong.status_code, wrong.json()["error"]) == (424, "no embeddings")
    assert wrong.headers["X-Error-Message"] == "no embeddings"
    assert client.post("/embed", json={"inputs": []}).json()["error_type"] == "Empty"
