from typing import Any

import pytest

from deployments.api.schemas import FilePair, PassageProbability, Question, QuestionAnswer, SentencesScore
from deployments.api.schemas import Passage as PassageBody
from pipelines.bulk.tasks import BULK_TASKS, texts_of
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.errors import MalformedInput

STS, COLA, QA = BULK_TASKS["sts"], BULK_TASKS["cola"], BULK_TASKS["qa"]


def test_every_task_of_the_checkpoints_can_be_scored() -> None:
    assert set(TASKS) < set(BULK_TASKS)


def test_fields_have_the_names_of_the_routes() -> None:
    assert list(STS.fields) == list(FilePair.__annotations__)
    assert list(COLA.fields) == list(PassageBody.model_fields)
    assert list(QA.fields) == list(Question.model_fields)
    assert set(STS.results) < set(SentencesScore.model_fields)
    assert set(COLA.results) == set(PassageProbability.model_fields)
    assert set(QA.results) == set(QuestionAnswer.model_fields) - set(Question.model_fields)


def test_pairs_may_be_named_as_in_the_route_for_single_pairs() -> None:
    cells = {"sentence_1": "a", "sentence_2": "b"}
    assert set(cells) < set(SentencesScore.model_fields)
    assert texts_of(STS, cells, STS.fields) == ("a", "b")


def test_a_field_may_have_another_column() -> None:
    columns = {**QA.fields, "question": "asked"}
    assert texts_of(QA, {"asked": "who?", "question": "no", "context": "me"}, columns) == ("who?", "me")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({}, "passage is missing"),
        ({"passage": None}, "passage is missing"),
        ({"passage": 5}, "passage is no text"),
        ({"passage": ""}, "passage has no visible character"),
        ({"passage": " \u200b"}, "passage has no visible character"),
        ({"passage": "a\x00b"}, "passage contains U+0000"),
        ({"passage": "a\ud800"}, "passage contains half of a surrogate pair"),
    ],
)
def test_texts_that_the_routes_refuse_are_refused(cells: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        texts_of(COLA, cells, COLA.fields)
    assert str(caught.value) == reason


@pytest.mark.parametrize(("texts", "needed"), [(("who?", "me"), True), (("", "me"), False), (("who?", " \n"), False)])
def test_a_question_or_context_that_is_empty_has_an_empty_answer(texts: tuple[str, str], needed: bool) -> None:
    assert texts_of(QA, dict(zip(QA.fields, texts, strict=True)), QA.fields) == texts
    assert QA.needs_model(texts) == needed
    assert QA.blank == {"answer": ""}
