"""Sentence similarity: single pairs, and files of pairs."""

from time import perf_counter
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, File, Request, Response, UploadFile

from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.pairs_file import read_pairs
from deployments.api.problems import REFUSALS
from deployments.api.schemas import FileScores, Sentences, SentencesScore
from deployments.api.services import ServicesOf, deadline
from pipelines.errors import FieldFault, InvalidInput

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
    async with deadline(settings.ingress.deadline_s):
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


async def one_file(request: Request) -> None:
    """Refuse a form with several parts named `file`: only one of them would be read."""
    count = len((await request.form()).getlist("file"))
    if count > 1:
        why = f"{count} parts of the form have the name file; send one request for each file"
        raise InvalidInput(FieldFault("/file", "too_many_files", why))


ONE_FILE = [Depends(one_file)]


@router.post("/pred/file/", dependencies=ONE_FILE)
@router.post("/pred/multi/", dependencies=ONE_FILE)
@router.post("/pred/file/multi/", dependencies=ONE_FILE)
async def score_file(
    file: Annotated[UploadFile, File(description=FORMATS)],
    services: ServicesOf,
    response: Response,
) -> FileScores:
    """Scores of all pairs of a file, in its order. The three paths do the same."""
    started_s = perf_counter()
    settings = services.settings
    async with deadline(settings.ingress.upload_deadline_s):
        content = await file.read()
        pairs = await to_thread.run_sync(read_pairs, content, settings.sts)
        results = await services.sts_files.submit_all(pairs)
    if any(result.truncated for result in results):
        response.headers[TRUNCATED] = "true"
    return FileScores(
        sentences=pairs,
        preds=[int(result.similar) for result in results],
        scores=[result.score for result in results],
        runtime_s=perf_counter() - started_s,
    )
