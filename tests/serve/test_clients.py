"""Clients of other servers against a real server on the shipped checkpoints."""

import base64
import json

import httpx2
import numpy as np
import pytest

pytestmark = pytest.mark.serve

TEXTS = ["오늘 과제는 코딩 과제입니다.", "오늘 과제는 논문 리딩 과제입니다.", "날씨가 좋아요."]
CONTEXT = "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."
QUESTION = "도서관은 몇 시에 문을 여나요?"


def test_embeddings_are_the_same_on_all_routes_and_give_the_scores_of_pairs(client: httpx2.Client) -> None:
    floats = client.post("/v1/embeddings", json={"model": "sts", "input": TEXTS}).json()
    encoded = client.post("/v1/embeddings", json={"model": "sts", "input": TEXTS, "encoding_format": "base64"}).json()
    vectors = np.array([one["embedding"] for one in floats["data"]], dtype=np.float32)
    decoded = [np.frombuffer(base64.b64decode(one["embedding"]), dtype="<f4") for one in encoded["data"]]
    np.testing.assert_allclose(np.stack(decoded), vectors, atol=1e-6)
    np.testing.assert_allclose(client.post("/embed", json={"inputs": TEXTS}).json(), vectors, atol=1e-6)
    np.testing.assert_allclose(client.post("/", json={"inputs": TEXTS}).json(), vectors, atol=1e-6)
    pair = {"sentence_1": TEXTS[0], "sentence_2": TEXTS[1]}
    score = client.post("/pred/sentences/", json=pair).json()["score"]
    assert vectors[0] @ vectors[1] == pytest.approx(score, abs=1e-5)
    listed = client.post("/v1/similarity", json={"pairs": [[TEXTS[0], TEXTS[1]], [TEXTS[0], " "]]}).json()["results"]
    assert listed[0]["score"] == pytest.approx(score, abs=1e-5)
    assert listed[1]["error"]["status"] == 422


def test_answers_say_how_they_were_computed(client: httpx2.Client) -> None:
    info = client.get("/info").json()["tasks"]
    for path, body, task in (
        ("/embed", {"inputs": TEXTS}, "sts"),
        ("/v1/similarity", {"pairs": [[TEXTS[0], TEXTS[1]]]}, "sts"),
        ("/classify", {"input": "A cat were asleep."}, "cola"),
        ("/models/question-answering", {"inputs": {"question": QUESTION, "context": CONTEXT}}, "qa"),
    ):
        headers = client.post(path, json=body).headers
        assert headers["X-Munjang-Checkpoint"] == info[task]["digest"]
        assert headers["x-compute-type"] == info[task]["engine"]
        assert 0 <= float(headers["X-Munjang-Padding"]) < 1
        numbers = {name: int(headers[f"x-{name}"]) for name in ("total-time", "queue-time", "inference-time")}
        assert numbers["total-time"] >= numbers["queue-time"] >= 0 <= numbers["inference-time"]
        assert 0 < int(headers["x-compute-tokens"]) <= int(headers["x-compute-characters"]) + 40


def test_the_original_routes_name_the_replica_and_the_size_of_its_batch(client: httpx2.Client) -> None:
    body = {"passage": "The book was readed by nobody but me."}
    computed = client.post("/generate", json=body)
    assert int(computed.headers["X-Munjang-Batch-Size"]) == 1
    assert computed.headers["X-Munjang-Replica"] in json.dumps(client.get("/v1/graph").json())
    assert list(computed.json()) == ["prob"]


def test_the_ids_that_tokenize_shows_give_the_embedding_of_the_text(client: httpx2.Client) -> None:
    (expected,) = client.post("/embed", json={"inputs": TEXTS[0]}).json()
    for whole in (True, False):
        (tokens,) = client.post("/tokenize", json={"inputs": TEXTS[0], "add_special_tokens": whole}).json()
        ids = [token["id"] for token in tokens]
        np.testing.assert_allclose(client.post("/embed", json={"inputs": [ids]}).json()[0], expected, atol=1e-6)
    assert client.post("/decode", json={"ids": ids}).json() == [TEXTS[0]]
    foreign = client.post("/v1/embeddings", json={"model": "sts", "input": [[100_256]]})
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (422, "foreign_token_id")


def test_models_are_listed_and_named(client: httpx2.Client) -> None:
    listed = client.get("/v1/models").json()["data"]
    assert [one["id"] for one in listed] == ["sts", "cola", "qa"]
    body = {"model": listed[0]["name"], "input": "가"}
    assert client.post("/v1/embeddings", json=body).status_code == 200
    assert client.post("/v1/embeddings", json=body | {"model": "no-such-model"}).status_code == 404


def test_texts_are_ranked_alike_in_all_shapes(client: httpx2.Client) -> None:
    tei = client.post("/rerank", json={"query": TEXTS[0], "texts": TEXTS}).json()
    cohere = client.post("/v2/rerank", json={"model": "sts", "query": TEXTS[0], "documents": TEXTS}).json()
    scores = client.post("/v1/score", json={"text_1": TEXTS[0], "text_2": TEXTS}).json()
    assert [one["index"] for one in tei] == [one["index"] for one in cohere["results"]] == [0, 1, 2]
    assert [one["score"] for one in tei] == pytest.approx([one["score"] for one in scores["data"]], abs=1e-5)


def test_many_questions_on_one_context_have_the_answers_of_the_route_for_one(client: httpx2.Client) -> None:
    questions = [QUESTION, "도서관은 몇 시에 닫나요?"]
    found = client.post("/v1/answers", json={"questions": questions, "context": CONTEXT, "top_k": 3}).json()["results"]
    for question, one in zip(questions, found, strict=True):
        single = client.post("/api", json={"question": question, "context": CONTEXT}).json()["answer"]
        assert single in [answer["answer"] for answer in one["answers"]]
        total = sum(answer["probability"] for answer in one["answers"]) + one["null_probability"]
        assert 0 < total <= 1 + 1e-6
        assert all(CONTEXT[answer["start"] : answer["end"]] == answer["answer"] for answer in one["answers"])


def test_a_question_of_hugging_faces_client_gets_pieces_of_its_context(client: httpx2.Client) -> None:
    inputs = {"question": QUESTION, "context": CONTEXT}
    body = {"inputs": inputs, "parameters": {"top_k": 2, "doc_stride": 8}}
    answers = client.post("/models/question-answering", json=body).json()
    assert len(answers) == 2
    assert all(CONTEXT[one["start"] : one["end"]] == one["answer"] for one in answers)
    assert 1 >= answers[0]["score"] >= answers[1]["score"] > 0
