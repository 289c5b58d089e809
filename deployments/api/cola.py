"""Grammatical acceptability of a passage."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from deployments.api.deadlines import Deadline
from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.problems import REFUSALS
from deployments.api.schemas import Passage, PassageProbability
from deployments.api.services import ServicesOf

router = APIRouter(tags=["grammatical acceptability"], responses=REFUSALS)


@router.post("/generate", status_code=HTTPStatus.OK)
async def judge_passage(body: Passage, services: ServicesOf, response: Response) -> PassageProbability:
    """The probability that an English sentence is grammatically acceptable."""
    settings = services.settings
    refuse_long("passage", body.passage, settings.cola.max_characters)
    async with Deadline(settings.ingress.deadline_s):
        result = await services.cola.submit(body.passage)
    if result.truncated:
        response.headers[TRUNCATED] = "true"
    return PassageProbability(prob=result.probability)
