"""Many inputs in one request, for each task: one that is bad gets an error of its own, and the others their results."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from deployments.api.deadlines import Deadline
from deployments.api.items import (
    MOST_ITEMS,
    ItemError,
    Place,
    attempt,
    item_error,
    submit_good,
    text_of,
)
from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.problems import REFUSALS
from deployments.api.schemas import Text, Whole
from deployments.api.services import ServicesOf
from pipelines.errors import FieldFault, InvalidInput, MunjangError
from pipelines.qa.reading import Findings, Reading

router = APIRouter(tags=["lists"], responses=REFUSALS)

Items = Annotated[list[Any], Field(min_length=1, max_length=MOST_ITEMS)]


class Usage(BaseModel):
    """What was read."""

    tokens: int = Field(description="Tokens that models read, with special tokens.")


class Pairs(BaseModel):
    """Pairs of sentences."""

    pairs: Items = Field(
        description="Each is a list of two sentences. One that is not gets an error in its place.",
        examples=[[["오늘 과제는 코딩 과제입니다.", "오늘 과제는 논문 리딩 과제입니다."]]],
    )


class PairScore(BaseModel):
    """How similar the sentences of a pair are."""

    score: float = Field(description="Cosine in [-1, 1]; a score in [0, 5] if the checkpoint is a cross-encoder.")
    similar: bool = Field(description="Whether the score is at least the threshold.")
    truncated: bool = Field(description="Whether a sentence has more tokens than the model reads.")


class Failed(BaseModel):
    """In place of a result."""

    error: ItemError


class PairScores(BaseModel):
    """One result for each pair, in order."""

    results: list[PairScore | Failed]
    usage: Usage


class Passages(BaseModel):
    """English sentences."""

    passages: Items = Field(
        description="Each is a text. One that is not gets an error in its place.", examples=[["I are a boy"]]
    )


class PassageScore(BaseModel):
    """How acceptable a passage is."""

    probability: float = Field(description="Probability that the passage is grammatically acceptable.")
    acceptable: bool = Field(description="Whether the probability is at least the checkpoint's threshold.")
    truncated: bool = Field(description="Whether the passage has more tokens than the model reads.")


class PassageScores(BaseModel):
    """One result for each passage, in order."""

    results: list[PassageScore | Failed]
    usage: Usage


class Questions(BaseModel):
    """Questions about one context."""

    questions: Items = Field(
        description="Each is a text. One that is not gets an error in its place.",
        examples=[["도서관은 몇 시에 문을 여나요?"]],
    )
    context: Text = Field(examples=["시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."])
    top_k: Whole = Field(1, ge=1, le=100, description="Most answers to each question.")


class SpanAnswer(BaseModel):
    """A piece of the context."""

    answer: str
    start: int = Field(description="Start in the context, in Unicode code points.")
    end: int = Field(description="End in the context, exclusive, in Unicode code points.")
    score: float = Field(description="Start logit plus end logit.")
    probability: float = Field(description="Among all spans of all windows of the context, and no answer.")


class Answers(BaseModel):
    """What was found for one question."""

    answers: list[SpanAnswer] = Field(description="The most probable ones first.")
    answerable: bool = Field(description="Whether the route /api would give an answer that is not empty.")
    null_score: float | None = Field(description="Start logit plus end logit for no answer; null: nothing to read.")
    null_probability: float = Field(description="The probability that the context has no answer.")
    windows: int = Field(description="Number of windows that were read.")
    truncated: bool = Field(description="Whether the end of the question was not read.")


class AnswersEach(BaseModel):
    """One result for each question, in order."""

    results: list[Answers | Failed]
    usage: Usage


@router.post("/v1/similarity", status_code=HTTPStatus.OK)
async def score_pairs(body: Pairs, services: ServicesOf, response: Response) -> PairScores:
    """How similar the two sentences of each pair are."""
    longest = services.settings.sts.max_characters
    pairs = [attempt(_pair, pair, ("pairs", number), longest) for number, pair in enumerate(body.pairs)]
    async with Deadline(services.settings.ingress.deadline_s):
        results = await submit_good(services.pair_lists, pairs)
    found = [
        Failed(error=item_error(one))
        if isinstance(one, MunjangError)
        else PairScore(score=one.score, similar=one.similar, truncated=one.truncated)
        for one in results
    ]
    _report_truncation(found, response)
    return PairScores(results=found, usage=_usage(results))


@router.post("/v1/acceptability", status_code=HTTPStatus.OK)
async def judge_passages(body: Passages, services: ServicesOf, response: Response) -> PassageScores:
    """The probability that each English sentence is grammatically acceptable."""
    longest = services.settings.cola.max_characters
    passages = [attempt(text_of, one, ("passages", number), longest) for number, one in enumerate(body.passages)]
    async with Deadline(services.settings.ingress.deadline_s):
        results = await submit_good(services.passage_lists, passages)
    found = [
        Failed(error=item_error(one))
        if isinstance(one, MunjangError)
        else PassageScore(probability=one.probability, acceptable=one.acceptable, truncated=one.truncated)
        for one in results
    ]
    _report_truncation(found, response)
    return PassageScores(results=found, usage=_usage(results))


@router.post("/v1/answers", status_code=HTTPStatus.OK)
async def answer_questions(body: Questions, services: ServicesOf, response: Response) -> AnswersEach:
    """The pieces of one context that answer each question. The context is tokenized once for all of a call."""
    settings = services.settings.qa
    refuse_long("context", body.context, settings.max_context_characters)
    longest = settings.max_question_characters
    questions = [attempt(text_of, one, ("questions", number), longest) for number, one in enumerate(body.questions)]
    readings = [one if isinstance(one, MunjangError) else Reading(one, body.context) for one in questions]
    async with Deadline(services.settings.ingress.deadline_s):
        results = await submit_good(services.readings, readings)
    found = [
        Failed(error=item_error(one)) if isinstance(one, MunjangError) else _answers(one, body.top_k) for one in results
    ]
    _report_truncation(found, response)
    return AnswersEach(results=found, usage=_usage(results))


def _pair(value: Any, place: Place, longest: int) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        pointed = "".join(f"/{part}" for part in place)
        raise InvalidInput(FieldFault(pointed, "not_a_pair", "A pair must be a list of two texts"))
    return text_of(value[0], (*place, 0), longest), text_of(value[1], (*place, 1), longest)


def _answers(found: Findings, top_k: int) -> Answers:
    return Answers(
        answers=[
            SpanAnswer(answer=one.text, start=one.start, end=one.end, score=one.score, probability=one.probability)
            for one in found.candidates[:top_k]
        ],
        answerable=found.answerable,
        null_score=found.null_score,
        null_probability=found.null_probability,
        windows=found.windows,
        truncated=found.truncated,
    )


def _report_truncation(found: Any, response: Response) -> None:
    if any(getattr(one, "truncated", False) for one in found):
        response.headers[TRUNCATED] = "true"


def _usage(results: Any) -> Usage:
    return Usage(tokens=sum(one.tokens for one in results if not isinstance(one, MunjangError)))
