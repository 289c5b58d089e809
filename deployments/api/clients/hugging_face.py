"""Hugging Face's tasks at /models/{task or name}, for `InferenceClient(model=URL)`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field, ValidationError

from deployments.api.bodies import PARSED
from deployments.api.clients.errors import TEI_REFUSALS
from deployments.api.clients.inputs import described, json_answer, validated
from deployments.api.clients.tei import EmbedRequest, SimilarityRequest, acceptability_labels, cosines_of, embed_texts
from deployments.api.deadlines import Deadline
from deployments.api.items import good_or_raise
from deployments.api.limits import refuse_long
from deployments.api.schemas import Text, Whole
from deployments.api.services import Services, ServicesOf
from pipelines.errors import FieldFault, InvalidInput, UnknownModel
from pipelines.format.windows import WindowOverrides, WindowSettings
from pipelines.qa.reading import Findings, Reading

router = APIRouter(tags=["Hugging Face"], responses=TEI_REFUSALS)

Name = Annotated[
    str, InPath(min_length=1, description="A task of Hugging Face, or a model as in /v1/models.", examples=["sts"])
]
PIPELINES = {
    "sentence-similarity": "sts",
    "feature-extraction": "sts",
    "text-classification": "cola",
    "question-answering": "qa",
}
Length = Annotated[Whole, Field(ge=1, le=100_000)]


class QuestionInputs(BaseModel):
    """A question about a context."""

    question: Text
    context: Text


class QuestionParameters(BaseModel):
    """How to read the context; null: as the checkpoint says."""

    top_k: Annotated[Whole, Field(ge=1, le=100)] | None = None
    handle_impossible_answer: bool | None = Field(None, strict=True)
    max_answer_len: Length | None = None
    doc_stride: Length | None = None
    max_seq_len: Length | None = None
    max_question_len: Length | None = None
    align_to_words: bool | None = Field(None, strict=True)


class QuestionRequest(BaseModel):
    """The body of question-answering."""

    inputs: QuestionInputs
    parameters: QuestionParameters | None = None


class ClassificationParameters(BaseModel):
    """Which labels to give. The classifier's probabilities are those of softmax."""

    function_to_apply: Literal["softmax"] | None = None
    top_k: Annotated[Whole, Field(ge=1)] | None = None


class ClassificationRequest(BaseModel):
    """The body of text-classification."""

    inputs: Text
    parameters: ClassificationParameters | None = None


BODY = described(SimilarityRequest, EmbedRequest, ClassificationRequest, QuestionRequest)
"""The OpenAPI description of the body, which depends on the task."""


@router.post("/models/{name:path}/pipeline/{pipeline}", openapi_extra=BODY)
async def run_pipeline(name: Name, pipeline: str, request: Request, services: ServicesOf) -> Response:
    """Run a task with the model of this name, or of this task."""
    if name not in PIPELINES:
        await services.catalogue.refuse_other(name, *_tasks(pipeline), wanted=f"pipeline {pipeline}")
    return await _run(pipeline, request.scope[PARSED], services)


@router.post("/models/{name:path}", openapi_extra=BODY)
async def run_model(name: Name, request: Request, services: ServicesOf) -> Response:
    """Run the task of this name, or the one that the model of this name is for."""
    parsed = request.scope[PARSED]
    if name in PIPELINES:
        return await _run(name, parsed, services)
    task = await services.catalogue.task_of(name)
    inputs = parsed.get("inputs") if isinstance(parsed, dict) else None
    found = [pipeline for pipeline, own in PIPELINES.items() if own == task]
    return await _run(found[0] if isinstance(inputs, dict) else found[-1], parsed, services)


def _tasks(pipeline: str) -> list[Any]:
    if pipeline not in PIPELINES:
        raise UnknownModel(*PIPELINES)
    return [PIPELINES[pipeline]]


async def _run(pipeline: str, parsed: Any, services: Services) -> Response:
    _tasks(pipeline)
    if pipeline == "sentence-similarity":
        cosines, truncated = await cosines_of(services, validated(SimilarityRequest, parsed).inputs)
        return json_answer(cosines, truncated=truncated)
    if pipeline == "feature-extraction":
        return await embed_texts(validated(EmbedRequest, parsed), services, Response())
    if pipeline == "text-classification":
        return await _classify(validated(ClassificationRequest, parsed), services)
    return await _answer(validated(QuestionRequest, parsed), services)


async def _classify(body: ClassificationRequest, services: Services) -> Response:
    refuse_long("inputs", body.inputs, services.settings.cola.max_characters)
    async with Deadline(services.settings.ingress.deadline_s):
        (result,) = good_or_raise(await services.passage_lists.submit_each([body.inputs]))
    top_k = body.parameters.top_k if body.parameters else None
    return json_answer([acceptability_labels(result.probability)[:top_k]], truncated=result.truncated)


async def _answer(body: QuestionRequest, services: Services) -> Response:
    settings, inputs = services.settings.qa, body.inputs
    parameters = body.parameters or QuestionParameters()
    refuse_long("question", inputs.question, settings.max_question_characters)
    refuse_long("context", inputs.context, settings.max_context_characters)
    if parameters.align_to_words is False:
        detail = "Answers are cut where the tokens end; leave it out"
        raise InvalidInput(FieldFault("/parameters/align_to_words", "not_served", detail))
    async with Deadline(services.settings.ingress.deadline_s):
        reading = Reading(inputs.question, inputs.context, await _windows(parameters, services))
        (found,) = good_or_raise(await services.readings.submit_each([reading]))
    ranked = _ranked(found, null=bool(parameters.handle_impossible_answer))
    top_k = parameters.top_k or 1
    answer: Any = ranked[:top_k] if top_k > 1 else ranked[0]
    return json_answer(answer, truncated=found.truncated)


def _ranked(found: Findings, *, null: bool) -> list[dict[str, Any]]:
    """The answers with their probabilities, best first; with `null`, or if there is no other, also no answer."""
    answers = [
        {"answer": one.text, "score": one.probability, "start": one.start, "end": one.end} for one in found.candidates
    ]
    if null or not answers:
        answers.append({"answer": "", "score": found.null_probability, "start": 0, "end": 0})
    return sorted(answers, key=lambda one: float(str(one["score"])), reverse=True)


async def _windows(parameters: QuestionParameters, services: Services) -> WindowSettings | None:
    """The windows that the parameters ask for; None: the checkpoint's own. Raises InvalidInput if they do not fit."""
    overrides = WindowOverrides.model_construct(
        max_seq_length=parameters.max_seq_len,
        max_query_length=parameters.max_question_len,
        max_answer_length=parameters.max_answer_len,
        doc_stride=parameters.doc_stride,
    )
    if not overrides.model_dump(exclude_none=True):
        return None
    card = (await services.catalogue.models()).get("qa", {})
    try:
        windows = overrides.over(WindowSettings.model_validate(card.get("windows", {})))
    except ValidationError as error:
        raise InvalidInput(FieldFault("/parameters", "windows", error.errors()[0]["msg"])) from None
    if windows.max_seq_length > (card.get("max_tokens") or windows.max_seq_length):
        detail = f"the model reads {card['max_tokens']} tokens"
        raise InvalidInput(FieldFault("/parameters/max_seq_len", "windows", detail))
    return windows
