"""Extractive question answering."""

from fastapi import APIRouter, Response

from deployments.api.deadlines import Deadline
from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.problems import REFUSALS
from deployments.api.schemas import Question, QuestionAnswer
from deployments.api.services import ServicesOf

router = APIRouter(tags=["question answering"], responses=REFUSALS)

ANSWER_SPAN = "X-Answer-Span"  # start-end in the context, half-open, in Unicode code points


@router.post("/api")
async def answer_question(body: Question, services: ServicesOf, response: Response) -> QuestionAnswer:
    """The piece of the context that answers the question; empty if there is no answer."""
    settings = services.settings
    refuse_long("question", body.question, settings.qa.max_question_characters)
    refuse_long("context", body.context, settings.qa.max_context_characters)
    if not body.question.strip() or not body.context.strip():
        return QuestionAnswer(question=body.question, context=body.context, answer="")
    async with Deadline(settings.ingress.deadline_s):
        answer = await services.qa.submit((body.question, body.context))
    if answer.truncated:
        response.headers[TRUNCATED] = "true"
    response.headers[ANSWER_SPAN] = f"{answer.start}-{answer.end}"
    return QuestionAnswer(question=body.question, context=body.context, answer=answer.text)
