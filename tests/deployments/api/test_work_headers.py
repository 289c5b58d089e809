"""The headers that describe the work for a request, with real group commits before scripted models."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.app import DIRECT, make_api
from deployments.calls.group_commit import GroupCommit
from deployments.calls.lists import Lists
from deployments.calls.request_work import CALL
from pipelines.cola.pipeline import Acceptability
from pipelines.engines.model_stage import Place, Work
from pipelines.errors import Overloaded
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, Similarity
from tests.deployments.api.conftest import URL, VECTOR, ScriptedServices

PLACE = Place("replica7", "onnx int8 on cpu", "digest")
WORK = Work(0.0205, 0.0105, 5.6, 0.125)
TEI = {
    "x-compute-type": "onnx int8 on cpu",
    "x-compute-characters": "3",
    "x-compute-tokens": "7",
    "x-tokenization-time": "3",
    "x-inference-time": "10",
}
OWN = {
    "x-munjang-batch-size": "6",
    "x-munjang-padding": "0.12",
    "x-munjang-replica": "replica7",
    "x-munjang-checkpoint": "digest",
}
ORIGINAL = {
    "/pred/sentences/": {"sentence_1": "가 ", "sentence_2": "나"},
    "/generate": {"passage": "I a"},
    "/api": {"question": "무", "context": "그것"},
}
FEW = {"x-inference-time", "x-munjang-batch-size", "x-munjang-replica"}


def commit(answer: Callable[[Any], Any], weigh: Callable[[Any], int]) -> GroupCommit[Any, Any]:
    async def call(items: Sequence[Any]) -> list[Any]:
        work = CALL.get()
        assert work is not None
        work.work, work.place, work.tokenized_s = WORK, PLACE, 0.0031
        return [answer(item) for item in items]

    return GroupCommit(call, max_calls=1, max_items=2, max_waiting=100, weigh=weigh)


def letters(texts: Any) -> int:
    return sum(map(len, texts))


@pytest.fixture
def services() -> ScriptedServices:
    services: Any = ScriptedServices()
    pairs = commit(lambda pair: Similarity(0.61, True, False, "digest", tokens=7), letters)
    inputs = commit(lambda one: Embedding(VECTOR, "digest", tokens=7), lambda one: len(one[0]))
    services.sts = services.sts_files = pairs
    services.cola = commit(lambda passage: Acceptability(0.25, False, tokens=7), len)
    services.qa = commit(lambda asked: Answer("산", 1, 2, 9.0, 1.0, 1, "digest", tokens=7), letters)
    services.pair_lists, services.embeddings = Lists(pairs, pairs), Lists(inputs, inputs)
    return services  # type: ignore[no-any-return]


def described(headers: Any) -> dict[str, str]:
    """The headers of the work, without those whose values vary."""
    return {name: value for name, value in headers.items() if name in {*TEI, *OWN}}


def test_an_answer_says_what_its_text_cost(client: TestClient) -> None:
    headers = client.post("/embed", json={"inputs": "가 나"}).headers
    assert described(headers) == TEI | OWN
    assert 0 <= int(headers["x-total-time"]) < 5000
    assert 20 <= int(headers["x-queue-time"]) < 5000
    assert headers["x-compute-time"] == headers["x-total-time"]


@pytest.mark.parametrize("direct", [DIRECT, {}], ids=["the fast path", "the usual path"])
@pytest.mark.parametrize("path", ORIGINAL)
def test_the_original_routes_have_few_of_the_headers(services: ScriptedServices, path: str, direct: Any) -> None:
    client = TestClient(make_api(services, direct), URL)
    for form in (path, path.rstrip("/")):
        answer = client.post(form, json=ORIGINAL[path])
        assert described(answer.headers) == {name: (TEI | OWN)[name] for name in FEW}
        assert 20 <= int(answer.headers["x-queue-time"]) < 5000
        assert "x-total-time" not in answer.headers


def test_the_work_for_a_list_is_summed_or_averaged_over_its_calls(client: TestClient) -> None:
    answer = client.post("/v1/similarity", json={"pairs": [["가", "나"], ["다", "라"], ["마", "바"]]})
    counted = {"x-compute-characters": "6", "x-compute-tokens": "21"}
    assert described(answer.headers) == TEI | OWN | counted


def test_a_file_has_the_headers(client: TestClient) -> None:
    files = {"file": ("pairs.csv", "sentence1,sentence2\n가,나\n")}
    answer = client.post("/pred/file/", files=files)
    assert described(answer.headers) == TEI | OWN | {"x-compute-characters": "2"}


def test_answers_without_work_have_no_such_headers(client: TestClient, services: ScriptedServices) -> None:
    def fail(_: object) -> None:
        raise Overloaded(1)

    assert described(client.get("/").headers) == {}
    assert described(client.post("/embed", json={"inputs": " "}).headers) == {}
    services.cola = commit(fail, len)  # type: ignore[assignment]
    refused = client.post("/generate", json=ORIGINAL["/generate"])
    assert (refused.status_code, described(refused.headers)) == (429, {})


def test_the_time_of_a_request_begins_with_its_headers(services: ScriptedServices) -> None:
    app = make_api(services)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def receive_later() -> Any:
            await asyncio.sleep(0.05)
            return await receive()

        await app(scope, receive_later, send)

    headers = TestClient(slow, URL).post("/embed", json={"inputs": "가 나"}).headers
    assert 50 <= int(headers["x-total-time"]) < 5000
