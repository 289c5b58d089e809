"""Sentence similarity: single pairs, and files of pairs."""

from time import perf_counter

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from deployments.api.deadlines import Deadline
from deployments.api.form import FIELD, file_of_form
from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.media_types import Kind
from deployments.api.pairs_file import read_pairs
from deployments.api.problems import REFUSALS
from deployments.api.schemas import FileScores, Sentences, SentencesScore
from deployments.api.services import ServicesOf
from deployments.settings import StsSettings

FORMATS = (
    'UTF-8: JSON {"results": [{"idx", "sentence1", "sentence2"}, ...]}; or JSON Lines with one such pair on each line; '
    "or CSV with the columns sentence1 and sentence2 in its first line. `idx` may be missing."
)

router = APIRouter(tags=["sentence similarity"], responses=REFUSALS)


@router.post("/pred/sentences/")
async def score_sentences(body: Sentences, services: ServicesOf, response: Response) -> SentencesScore:
    """How similar two sentences are."""
    started_s = perf_counter()
    settings = services.settings
    refuse_long("sentence_1", body.sentence_1, settings.sts.max_characters)
    refuse_long("sentence_2", body.sentence_2, settings.sts.max_characters)
    async with Deadline(settings.ingress.deadline_s):
        result = await services.sts.submit((body.sentence_1, body.sentence_2))
    if result.truncated:
        response.headers[TRUNCATED] = "true"
    return SentencesScore(
        sentence_1=body.sentence_1,
        sentence_2=body.sentence_2,
        score=result.score,
        pred=int(result.similar),
        runtime_s=perf_counter() - started_s,
    )


FORM = {
    "requestBody": {
        "required": True,
        "content": {
            Kind.UPLOAD.value: {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary", "description": FORMATS}},
                }
            }
        },
    }
}


@router.post("/pred/file/", openapi_extra=FORM)
@router.post("/pred/multi/", openapi_extra=FORM)
@router.post("/pred/file/multi/", openapi_extra=FORM)
async def score_file(request: Request, services: ServicesOf, response: Response) -> FileScores:
    """Scores of all pairs of a file, in its order. The three paths do the same."""
    started_s = perf_counter()
    settings = services.settings
    async with Deadline(settings.ingress.upload_deadline_s):
        pairs = await to_thread.run_sync(
            _read_form, request.headers["content-type"], await _body(request), settings.sts
        )
        results = await services.sts_files.submit_all(pairs)
    if any(result.truncated for result in results):
        response.headers[TRUNCATED] = "true"
    return FileScores(
        sentences=pairs,
        preds=[int(result.similar) for result in results],
        scores=[result.score for result in results],
        runtime_s=perf_counter() - started_s,
    )


async def _body(request: Request) -> bytes:
    """The whole body. `Request.body` would keep it in memory as long as the request lives."""
    return b"".join([piece async for piece in request.stream()])


def _read_form(content_type: str, body: bytes, settings: StsSettings) -> list[tuple[str, str]]:
    return read_pairs(file_of_form(content_type, body), settings)
