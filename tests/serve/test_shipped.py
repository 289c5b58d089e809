"""The original routes on the shipped checkpoints, over real HTTP."""

import asyncio
import json
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipelines.checkpoints.in_process import load_pipeline
from tests.serve.server import ROOT, Server

pytestmark = pytest.mark.serve

SAMPLE = [
    ("오늘 과제는 코딩 과제입니다.", "오늘 과제는 논문 리딩 과제입니다."),
    ("그 의견 좋은거 같아요.", "저도 그 의견 좋습니다."),
    ("안녕하세요", "오늘 과제 난이도 어떠셨나요?"),
]
LIBRARY = "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다. 월요일에는 쉰다."


def expected(task: str, items: list[tuple[str, str]] | list[str]) -> list[object]:
    """What the same checkpoint answers in this process, without Serve."""
    return _expected(task, tuple(items))


@cache
def _expected(task: str, items: tuple[object, ...]) -> list[object]:
    pipeline = load_pipeline(ROOT / "checkpoints" / task, task)  # type: ignore[arg-type]

    async def answer() -> list[object]:
        return list(await pipeline(items))

    return asyncio.run(answer())


def numbered_pairs(count: int) -> list[tuple[str, str]]:
    random.seed(count)
    words = ["오늘", "내일", "과제", "회의", "날씨", "의견", "코딩", "논문", "점심", "기차", "도서관", "음악"]
    return [
        (f"{i}번 {' '.join(random.choices(words, k=1 + i % 5))}", f"{random.choice(words)} {i}") for i in range(count)
    ]


@pytest.mark.parametrize("path", ["/pred/sentences/", "/pred/sentences"])
def test_pairs_get_the_scores_of_the_checkpoint_in_this_process(client: httpx2.Client, path: str) -> None:
    for (left, right), alone in zip(SAMPLE, expected("sts", SAMPLE), strict=True):
        answer = client.post(path, json={"sentence_1": left, "sentence_2": right})
        assert answer.status_code == 200
        body = answer.json()
        assert list(body) == ["sentence_1", "sentence_2", "score", "pred", "runtime(sec)"]
        assert body["score"] == pytest.approx(alone.score, abs=1e-5)  # type: ignore[attr-defined]
        assert body["pred"] == int(body["score"] >= 0.6)
        assert -1 <= body["score"] <= 1


@pytest.mark.parametrize("path", ["/pred/file/", "/pred/multi", "/pred/file/multi/"])
@pytest.mark.parametrize("count", [1, 11, 1001])
def test_a_file_of_any_length_keeps_length_and_order(client: httpx2.Client, path: str, count: int) -> None:
    pairs = numbered_pairs(count)
    rows = [{"idx": i, "sentence1": left, "sentence2": right} for i, (left, right) in enumerate(pairs, 1)]
    answer = client.post(path, files={"file": ("pairs.json", json.dumps({"results": rows}).encode())}).json()
    assert list(answer) == ["sentences", "preds", "scores", "runtime(sec)"]
    assert answer["sentences"] == [list(pair) for pair in pairs]
    alone = [result.score for result in expected("sts", pairs)]  # type: ignore[attr-defined]
    assert answer["scores"] == pytest.approx(alone, abs=1e-5)
    assert answer["preds"] == [int(score >= 0.6) for score in answer["scores"]]


@pytest.mark.parametrize("path", ["/generate", "/generate/"])
def test_a_grammatical_sentence_is_more_acceptable_than_a_broken_one(client: httpx2.Client, path: str) -> None:
    passages = ["The children are playing in the garden.", "The children is play garden in the."]
    good, bad = (client.post(path, json={"passage": passage}).json() for passage in passages)
    assert list(good) == ["prob"]
    assert 0 <= bad["prob"] < good["prob"] <= 1


@pytest.mark.parametrize("path", ["/api", "/api/"])
def test_an_answer_is_a_piece_of_its_context(client: httpx2.Client, path: str) -> None:
    question = "도서관은 몇 시에 문을 여나요?"
    response = client.post(path, json={"question": question, "context": LIBRARY})
    body = response.json()
    assert list(body) == ["question", "context", "answer"]
    start, end = map(int, response.headers["X-Answer-Span"].split("-"))
    assert body["answer"] == LIBRARY[start:end] == expected("qa", [(question, LIBRARY)])[0].text  # type: ignore[attr-defined]
    assert body["answer"]


def test_an_empty_question_has_an_empty_answer(client: httpx2.Client) -> None:
    response = client.post("/api", json={"question": "", "context": LIBRARY})
    assert (response.status_code, response.json()["answer"]) == (200, "")


def test_a_context_of_thirty_thousand_characters_is_read_to_its_end(client: httpx2.Client) -> None:
    filler = "강가의 마을에서는 봄마다 작은 장이 서고 사람들이 모여 이야기를 나눈다. "
    context = (filler * 800)[:30_000] + LIBRARY
    question = "시립 도서관은 월요일에 쉬나요?"
    answer = client.post("/api", json={"question": question, "context": context})
    start, end = map(int, answer.headers["X-Answer-Span"].split("-"))
    assert answer.json()["answer"] == context[start:end] != ""
    assert start > 29_000


def test_sixty_four_callers_at_once_get_their_own_answers(server: Server) -> None:
    pairs = numbered_pairs(64)
    passages = [f"Sentence number {i} is here." for i in range(64)]
    contexts = [(f"{i}번 상자에는 무엇이 있나요?", f"{i}번 상자에는 사과 {i * 7}개가 있다.") for i in range(64)]

    async def everything() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=64)
        async with httpx2.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            calls = [
                call
                for (left, right), passage, (question, context) in zip(pairs, passages, contexts, strict=True)
                for call in (
                    client.post("/pred/sentences/", json={"sentence_1": left, "sentence_2": right}),
                    client.post("/generate", json={"passage": passage}),
                    client.post("/api", json={"question": question, "context": context}),
                )
            ]
            return await asyncio.gather(*calls)

    answers = [response.json() for response in asyncio.run(everything())]
    scores = [answer["score"] for answer in answers[0::3]]
    assert [(answer["sentence_1"], answer["sentence_2"]) for answer in answers[0::3]] == pairs
    assert scores == pytest.approx([result.score for result in expected("sts", pairs)], abs=1e-5)  # type: ignore[attr-defined]
    alone = [result.probability for result in expected("cola", passages)]  # type: ignore[attr-defined]
    assert [answer["prob"] for answer in answers[1::3]] == pytest.approx(alone, abs=1e-5)
    texts = [result.text for result in expected("qa", contexts)]  # type: ignore[attr-defined]
    assert [answer["answer"] for answer in answers[2::3]] == texts


def test_the_request_id_of_the_caller_is_returned_or_a_new_one_is_made(client: httpx2.Client) -> None:
    own = client.get("/healthz", headers={"X-Request-ID": "my-id-7"})
    assert own.headers.get_list("X-Request-ID") == ["my-id-7"]
    first, second = (client.post("/generate", json={}) for _ in range(2))
    assert first.json()["instance"] == first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


def test_readiness_and_info_describe_what_is_served(client: httpx2.Client) -> None:
    assert client.get("/").json() == {"Hello": "World"}
    assert client.get("/docs/").status_code == client.get("/openapi.json").status_code == 200
    ready = client.get("/readyz").json()
    assert ready == {
        "ready": True,
        "deployments": dict.fromkeys(
            [
                "StsTokenizer",
                "StsEncoder",
                "ColaTokenizer",
                "ColaClassifier",
                "QaTokenizer",
                "QaExtractor",
                "PersonaChat",
                "JobRunner",
                "Ingress",
            ],
            True,
        ),
    }
    tasks = client.get("/info").json()["tasks"]
    assert tasks["sts"]["kind"] == "bi-encoder"
    assert tasks["sts"]["threshold"] == 0.6
    for task in ("sts", "cola", "qa"):
        manifest = json.loads((Path(ROOT) / "checkpoints" / task / "manifest.json").read_text())
        assert tasks[task]["name"] == manifest["name"]
        assert tasks[task]["scores"] == manifest["scores"]
        assert {"engine", "max_tokens", "versions"} <= set(tasks[task])


def test_the_graph_counts_what_passes_through_it(client: httpx2.Client) -> None:
    def replicas() -> dict[str, dict[str, Any]]:
        """The report of the first replica of each deployment."""
        shown = client.get("/v1/graph").json()["deployments"]
        assert all(each["state"] == "running" and each["running"] == len(each["replicas"]) for each in shown)
        return {each["name"]: each["replicas"][0] for each in shown}

    def differences(name: str) -> list[int]:
        return [after[name][field] - before[name][field] for field in ("requests", "batches", "items")]

    before = replicas()
    for _ in range(2):
        client.post("/generate", json={"passage": "The children are playing in the garden."})
    after = before
    until_s = time.monotonic() + 60
    while after["Ingress"] == before["Ingress"] and time.monotonic() < until_s:  # at first the answer from before
        after = replicas()
    assert list(after) == [
        *("Ingress", "StsTokenizer", "StsEncoder", "ColaTokenizer", "ColaClassifier", "QaTokenizer", "QaExtractor"),
        *("PersonaChat", "JobRunner"),
    ]
    for name in ("Ingress", "ColaTokenizer", "ColaClassifier"):
        assert differences(name) == [2, 2, 2]
    for name in ("ColaTokenizer", "ColaClassifier"):
        assert after["Ingress"]["calls"][name] - before["Ingress"]["calls"][name] == 2
    assert after["ColaClassifier"]["mean_batch"] >= 1  # of recent batches, also of earlier requests
    assert 0 < after["Ingress"]["busy"] <= 1
    assert differences("QaExtractor") == [0, 0, 0]


def test_a_body_over_its_limit_is_refused_also_behind_the_proxy(client: httpx2.Client) -> None:
    response = client.post("/generate", content=b"x" * (3 * 2**20), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
