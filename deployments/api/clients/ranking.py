"""Routes that score and rank texts, as TEI, Cohere, Jina, vLLM and Infinity have them, told apart by their fields.

A bi-encoder's scores are cosines, a cross-encoder's are in [0, 1].
"""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from deployments.api.bodies import PARSED
from deployments.api.clients.errors import OPENAI_REFUSALS, TEI_REFUSALS
from deployments.api.clients.inputs import NoRawScores, described, json_answer, validated
from deployments.api.clients.tei import OneOrMore, Texts, acceptability_labels
from deployments.api.deadlines import Deadline
from deployments.api.items import good_or_raise
from deployments.api.limits import refuse_long
from deployments.api.schemas import AtLeastOne, Text
from deployments.api.services import Services, ServicesOf
from pipelines.errors import FieldFault, InvalidInput
from pipelines.sts.data import HIGHEST_SCORE
from pipelines.sts.pipeline import Similarity

router = APIRouter()


class TeiRerank(BaseModel):
    """TEI: the texts to rank are `texts`."""

    query: Text
    texts: Texts
    truncate: bool | None = Field(None, strict=True)
    raw_scores: bool = Field(False, strict=True)
    return_text: bool = Field(False, strict=True)


class DocumentsRerank(BaseModel):
    """Cohere, Jina, vLLM and Infinity: the texts to rank are `documents`."""

    query: Text
    documents: Texts
    model: str | None = None
    top_n: AtLeastOne | None = None
    return_documents: bool | None = Field(None, strict=True)


class TextScore(BaseModel):
    """vLLM: one text against one or several, or as many."""

    text_1: OneOrMore
    text_2: OneOrMore
    model: str | None = None


class QueriesScore(BaseModel):
    """vLLM: one query against one or several documents, or as many."""

    queries: OneOrMore
    documents: OneOrMore
    model: str | None = None


class Classify(BaseModel):
    """Texts to classify. With `raw_scores` the answer is Infinity's, else vLLM's."""

    input: OneOrMore
    model: str | None = None
    raw_scores: NoRawScores = None


def _has(parsed: Any, *keys: str) -> bool:
    return isinstance(parsed, dict) and any(key in parsed for key in keys)


async def _rerank_body(request: Request) -> TeiRerank | DocumentsRerank:
    parsed = request.scope[PARSED]
    return validated(DocumentsRerank, parsed) if _has(parsed, "documents") else validated(TeiRerank, parsed)


async def _score_body(request: Request) -> TextScore | QueriesScore:
    parsed = request.scope[PARSED]
    return validated(QueriesScore, parsed) if _has(parsed, "queries") else validated(TextScore, parsed)


RerankBody = Annotated[TeiRerank | DocumentsRerank, Depends(_rerank_body)]
ScoreBody = Annotated[TextScore | QueriesScore, Depends(_score_body)]


@router.post("/rerank", tags=["rerank"], responses=TEI_REFUSALS, openapi_extra=described(TeiRerank, DocumentsRerank))
async def rerank(body: RerankBody, services: ServicesOf) -> Response:
    """The texts with their scores, best first: TEI's answer to `texts`, Infinity's and Jina's to `documents`."""
    if isinstance(body, DocumentsRerank):
        return await _rank_documents(body, services)
    results = await _compare(services, [(body.query, text) for text in body.texts])
    factor = HIGHEST_SCORE if body.raw_scores and results[0].kind != "bi-encoder" else 1.0
    ranked = [
        {"index": index, "score": score * factor} | ({"text": body.texts[index]} if body.return_text else {})
        for index, score in _ranked(results)
    ]
    return json_answer(ranked, truncated=any(one.truncated for one in results))


@router.post("/v1/rerank", tags=["rerank"], responses=OPENAI_REFUSALS)
@router.post("/v2/rerank", tags=["rerank"], responses=OPENAI_REFUSALS)
async def rerank_documents(body: DocumentsRerank, services: ServicesOf) -> Response:
    """The documents with their scores, best first, as Cohere's clients read them."""
    return await _rank_documents(body, services)


async def _rank_documents(body: DocumentsRerank, services: Services) -> Response:
    await services.catalogue.refuse_other(body.model, "sts", wanted="similarity")
    results = await _compare(services, [(body.query, text) for text in body.documents])
    tokens = sum(one.tokens for one in results)
    ranked = [
        {"index": index, "relevance_score": score}
        | ({"document": {"text": body.documents[index]}} if body.return_documents else {})
        for index, score in _ranked(results)[: body.top_n]
    ]
    content = {
        "id": f"rerank-{uuid4()}",
        "model": body.model or "sts",
        "results": ranked,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    return json_answer(content, truncated=any(one.truncated for one in results))


@router.post("/v1/score", tags=["score"], responses=OPENAI_REFUSALS, openapi_extra=described(TextScore, QueriesScore))
@router.post("/score", tags=["score"], responses=OPENAI_REFUSALS, openapi_extra=described(TextScore, QueriesScore))
async def score(body: ScoreBody, services: ServicesOf) -> Response:
    """Scores of pairs of texts, as vLLM answers."""
    await services.catalogue.refuse_other(body.model, "sts", wanted="similarity")
    given = (body.queries, body.documents) if isinstance(body, QueriesScore) else (body.text_1, body.text_2)
    results = await _compare(services, _paired(*given))
    tokens = sum(one.tokens for one in results)
    content = {
        "id": f"score-{uuid4()}",
        "object": "list",
        "model": body.model or "sts",
        "data": [{"index": index, "object": "score", "score": _unit(one)} for index, one in enumerate(results)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(content, truncated=any(one.truncated for one in results))


@router.post("/classify", tags=["classify"], responses=OPENAI_REFUSALS)
async def classify(body: Classify, services: ServicesOf) -> Response:
    """Grammatical acceptability, as vLLM answers, or with `raw_scores` as Infinity does."""
    await services.catalogue.refuse_other(body.model, "cola", wanted="labels")
    for text in body.input:
        refuse_long("a text", text, services.settings.cola.max_characters)
    async with Deadline(services.settings.ingress.deadline_s):
        results = good_or_raise(await services.passage_lists.submit_each(body.input))
    tokens = sum(one.tokens for one in results)
    labels = [acceptability_labels(one.probability) for one in results]
    kind = "classify" if body.raw_scores is not None else "list"
    data = labels if body.raw_scores is not None else [_vllm(index, one) for index, one in enumerate(labels)]
    content = {
        "id": f"classify-{uuid4()}",
        "object": kind,
        "model": body.model or "cola",
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(content, truncated=any(one.truncated for one in results))


def _vllm(index: int, labels: list[dict[str, Any]]) -> dict[str, Any]:
    by_label = {one["label"]: one["score"] for one in labels}
    probabilities = [by_label["unacceptable"], by_label["acceptable"]]
    return {"index": index, "label": labels[0]["label"], "probs": probabilities, "num_classes": len(probabilities)}


def _paired(left: list[str], right: list[str]) -> list[tuple[str, str]]:
    """One text with each of the others, or both lists side by side. Raises InvalidInput."""
    if len(left) == 1:
        return [(left[0], one) for one in right]
    if len(left) != len(right):
        detail = f"{len(left):,} and {len(right):,} texts do not form pairs: give one, or as many as there are others"
        raise InvalidInput(FieldFault("", "not_pairs", detail))
    return list(zip(left, right, strict=True))


async def _compare(services: Services, pairs: Sequence[tuple[str, str]]) -> list[Similarity]:
    for text in dict.fromkeys(text for pair in pairs for text in pair):
        refuse_long("a text", text, services.settings.sts.max_characters)
    async with Deadline(services.settings.ingress.deadline_s):
        return good_or_raise(await services.pair_lists.submit_each(pairs))


def _unit(one: Similarity) -> float:
    """A cosine as it is, a cross-encoder's score from 0 to 1."""
    return one.score if one.kind == "bi-encoder" else one.score / HIGHEST_SCORE


def _ranked(results: Sequence[Similarity]) -> list[tuple[int, float]]:
    """Indexes and scores, best first, equal scores in order."""
    return sorted(((index, _unit(one)) for index, one in enumerate(results)), key=lambda one: -one[1])
