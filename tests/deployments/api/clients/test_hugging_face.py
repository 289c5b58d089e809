from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.catalogue import Catalogue
from pipelines.format.windows import WindowSettings
from tests.deployments.api.conftest import VECTOR, ScriptedServices

CONTEXT = "가나다라"
ASK = {"inputs": {"question": "무엇?", "context": CONTEXT}}
BEST = {"answer": "나다", "score": 0.75, "start": 1, "end": 3}
SECOND = {"answer": "가", "score": 0.125, "start": 0, "end": 1}
NONE = {"answer": "", "score": 0.0625, "start": 0, "end": 0}


def ask(client: TestClient, path: str = "/models/question-answering", **parameters: Any) -> Any:
    return client.post(path, json=ASK | {"parameters": parameters})


@pytest.mark.parametrize("path", ["/models/question-answering", "/models/qa", "/models/qa/pipeline/question-answering"])
def test_a_question_gets_its_most_probable_answer(client: TestClient, path: str) -> None:
    assert ask(client, path).json() == BEST


def test_top_k_answers_are_a_list_and_no_answer_is_one_of_them_if_wanted(client: TestClient) -> None:
    assert ask(client, top_k=2).json() == [BEST, SECOND]
    assert ask(client, top_k=9, handle_impossible_answer=True).json() == [BEST, SECOND, NONE]


def test_windows_are_as_the_parameters_say(client: TestClient, services: ScriptedServices) -> None:
    async def describe() -> dict[str, Any]:
        return {"qa": {"windows": WindowSettings().model_dump(), "max_tokens": 200}}

    services.catalogue = Catalogue(describe)
    ask(client)
    ask(client, doc_stride=17, max_answer_len=5, max_seq_len=150, max_question_len=9)
    default, asked = services.readings.asked
    assert default.windows is None
    assert asked.windows == WindowSettings(doc_stride=17, max_answer_length=5, max_seq_length=150, max_query_length=9)
    for bad in ({"max_seq_len": 201}, {"max_seq_len": 20}, {"max_answer_len": 0}, {"align_to_words": False}):
        refused = ask(client, **bad)
        assert refused.status_code == 422
        assert refused.headers["X-Error-Message"] == refused.json()["error"]


def test_the_other_tasks_answer(client: TestClient) -> None:
    similarity = {"inputs": {"source_sentence": "가", "sentences": ["나", "다"]}, "parameters": {}}
    for path in ("/models/sentence-similarity", "/models/sts"):
        assert client.post(path, json=similarity).json() == [0.5, 0.5]
    for path in ("/models/feature-extraction", "/models/sts", "/models/sts/pipeline/feature-extraction"):
        assert client.post(path, json={"inputs": "가"}).json() == [VECTOR.tolist()]
    labels = [{"score": 0.75, "label": "acceptable"}, {"score": 0.25, "label": "unacceptable"}]
    for path in ("/models/text-classification", "/models/cola"):
        assert client.post(path, json={"inputs": "a"}).json() == [labels]
        assert client.post(path, json={"inputs": "a", "parameters": {"top_k": 1}}).json() == [labels[:1]]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/no/such", 404),
        ("/models/cola/pipeline/question-answering", 424),
        ("/models/sts/pipeline/nothing", 404),
    ],
)
def test_unknown_names_and_tasks_of_another_model_are_refused(client: TestClient, path: str, status: int) -> None:
    answer = client.post(path, json={"inputs": "a"})
    assert answer.status_code == status
    assert answer.headers["X-Error-Message"] == answer.json()["error"]


@pytest.mark.parametrize("path", ["/models/sts", "/models/cola", "/models/qa"])
@pytest.mark.parametrize(
    "body", [[], "text", {}, {"inputs": 3}, {"inputs": {}}, {"inputs": {"question": "", "context": ""}}]
)
def test_what_has_no_inputs_is_422(client: TestClient, path: str, body: Any) -> None:
    assert client.post(path, json=body).status_code == 422
    assert (
        client.post(path, content=b'{"inputs": NaN}', headers={"Content-Type": "application/json"}).status_code == 400
    )


def test_the_document_describes_the_bodies_of_all_tasks(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/models/{name}", "/models/{name}/pipeline/{pipeline}"):
        schemas = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
        similarity, _, _, question = (schema["properties"] for schema in schemas)
        assert set(similarity["inputs"]["properties"]) == {"source_sentence", "sentences"}
        assert set(question["inputs"]["properties"]) == {"question", "context"}
        assert "top_k" in question["parameters"]["anyOf"][0]["properties"]
        assert "$ref" not in str(schemas)
