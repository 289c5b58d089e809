"""Sentence similarity: single pairs, and files of pairs."""

from time import perf_counter
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, File, Response, UploadFile
from pydantic import ValidationError
from pydantic_core import from_json

from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.problems import REFUSALS, pointer
from deployments.api.schemas import FileScores, PairsFile, Sentences, SentencesScore
from deployments.api.services import ServicesOf, deadline
from deployments.settings import StsSettings
from pipelines.errors import FieldFault, InvalidInput, MalformedInput, TooLarge

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


@router.post("/pred/file/")
@router.post("/pred/multi/")
@router.post("/pred/file/multi/")
async def score_file(
    file: Annotated[UploadFile, File(description='UTF-8 JSON: {"results": [{"idx", "sentence1", "sentence2"}, ...]}')],
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


def read_pairs(content: bytes, settings: StsSettings) -> list[tuple[str, str]]:
    """Read the pairs of an uploaded file.

    Raises MalformedInput if the file is not UTF-8 JSON, TooLarge if there are too many pairs (before any of them is
    checked) or a sentence is too long, and InvalidInput with pointers into the first invalid row.
    """
    try:
        document = from_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        raise MalformedInput("the file is not UTF-8 JSON; save it as UTF-8") from None
    rows = document.get("results") if isinstance(document, dict) else None
    if isinstance(rows, list) and len(rows) > settings.max_pairs:
        raise TooLarge("the file", settings.max_pairs, "pairs")
    try:
        pairs = PairsFile.model_validate(document).results
    except ValidationError as error:
        raise _refusal(error) from None
    for field in ("sentence1", "sentence2"):
        refuse_long(field, max((pair[field] for pair in pairs), key=len), settings.max_characters)
    return [(pair["sentence1"], pair["sentence2"]) for pair in pairs]


def _refusal(error: ValidationError) -> InvalidInput:
    """Convert pydantic's error, without the input that pydantic adds to it."""
    found = error.errors(include_input=False, include_url=False)
    return InvalidInput(*(FieldFault(pointer(fault["loc"]), fault["type"], fault["msg"]) for fault in found))
