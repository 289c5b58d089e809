from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.sts.pipeline import Similarity
from tests.deployments.api.conftest import Scripted, ScriptedServices

TEXTS = ["가", "나나", "다다다"]
RANKED = [(2, 0.3), (1, 0.2), (0, 0.1)]


@pytest.fixture(autouse=True)
def _longer_is_better(services: ScriptedServices) -> None:
    services.pair_lists = Scripted(lambda pair: Similarity(len(pair[1]) / 10, False, False, "digest", tokens=3))


def test_texts_get_teis_answer(client: TestClient) -> None:
    answer = client.post("/rerank", json={"query": "무엇", "texts": TEXTS, "raw_scores": False})
    assert [(one["index"], one["score"]) for one in answer.json()] == RANKED
    assert "text" not in answer.json()[0]
    with_text = client.post("/rerank", json={"query": "무엇", "texts": TEXTS, "return_text": True}).json()
    assert with_text[0] == {"index": 2, "score": 0.3, "text": "다다다"}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_get_coheres_answer(client: TestClient, path: str) -> None:
    body = {"model": "sts", "query": "무엇", "documents": TEXTS, "top_n": 2, "return_documents": True}
    answer = client.post(path, json=body).json()
    assert answer["results"] == [
        {"index": 2, "relevance_score": 0.3, "document": {"text": "다다다"}},
        {"index": 1, "relevance_score": 0.2, "document": {"text": "나나"}},
    ]
    assert answer["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert answer["meta"]
    assert client.post(path, json=body | {"model": "rerank-v3.5"}).status_code == 404


def test_a_cross_encoders_scores_are_from_0_to_1_or_raw(client: TestClient, services: ScriptedServices) -> None:
    services.pair_lists = Scripted(lambda pair: Similarity(4.0, True, False, "digest", "cross-encoder"))
    body = {"query": "무엇", "texts": ["가"]}
    assert client.post("/rerank", json=body).json() == [{"index": 0, "score": 0.8}]
    assert client.post("/rerank", json=body | {"raw_scores": True}).json() == [{"index": 0, "score": 4.0}]


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        ({"text_1": "가", "text_2": "나"}, [("가", "나")]),
        ({"text_1": "가", "text_2": ["나", "다"]}, [("가", "나"), ("가", "다")]),
        ({"queries": ["가", "라"], "documents": ["나", "다"]}, [("가", "나"), ("라", "다")]),
    ],
)
def test_score_takes_one_to_many_and_many_to_many(
    client: TestClient, services: ScriptedServices, path: str, body: Any, pairs: list[tuple[str, str]]
) -> None:
    answer = client.post(path, json=body).json()
    assert services.pair_lists.asked == pairs
    assert answer["object"] == "list"
    assert answer["data"] == [{"index": index, "object": "score", "score": 0.1} for index in range(len(pairs))]


def test_lists_of_different_lengths_are_no_pairs(client: TestClient) -> None:
    answer = client.post("/score", json={"text_1": ["가", "나"], "text_2": ["가", "나", "다"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_pairs")


def test_classify_answers_vllm_and_with_raw_scores_infinity(client: TestClient) -> None:
    vllm = client.post("/classify", json={"input": ["a"], "model": "cola"}).json()
    assert vllm["data"] == [{"index": 0, "label": "acceptable", "probs": [0.25, 0.75], "num_classes": 2}]
    infinity = client.post("/classify", json={"input": ["a"], "model": "cola", "raw_scores": False}).json()
    assert infinity["object"] == "classify"
    assert infinity["data"] == [[{"score": 0.75, "label": "acceptable"}, {"score": 0.25, "label": "unacceptable"}]]
    assert client.post("/classify", json={"input": ["a"], "raw_scores": True}).status_code == 422
    assert client.post("/classify", json={"input": ["a"], "model": "sts"}).status_code == 424


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/score", "/classify"])
@pytest.mark.parametrize("body", [[], "text", {}, {"query": "가", "texts": []}, {"query": 3, "documents": ["가"]}])
def test_bodies_without_texts_are_422(client: TestClient, path: str, body: Any) -> None:
    assert client.post(path, json=body).status_code == 422
