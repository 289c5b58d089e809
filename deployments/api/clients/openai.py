"""OpenAI's routes for embeddings and models."""

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from deployments.api.catalogue import Catalogue
from deployments.api.clients.errors import OPENAI_REFUSALS
from deployments.api.clients.inputs import Inputs, NoDimensions, embed, json_answer
from deployments.api.deadlines import Deadline
from deployments.api.services import ServicesOf
from pipelines.sts.pipeline import Embedding

router = APIRouter(tags=["OpenAI"], responses=OPENAI_REFUSALS)


class EmbeddingsRequest(BaseModel):
    """Texts, or token ids of the model's own vocabulary."""

    input: Inputs = Field(examples=[["오늘 과제는 코딩 과제입니다."]])
    model: str = Field("sts", examples=["sts"])
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32.")
    dimensions: NoDimensions = None


class EmbeddingItem(BaseModel):
    """The embedding of one input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="Of length 1, so that a dot product is a cosine.")


class TokenUsage(BaseModel):
    """Tokens that the model read, with prompt and special tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """One embedding for each input, in order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: TokenUsage


class ModelCard(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int = Field(description="When this replica of the server started, in seconds since 1970.")
    owned_by: str
    name: str | None = None
    kind: str | None = None
    checkpoint: str | None = None
    max_tokens: int | None = None


class ModelList(BaseModel):
    """All models that are served and do not sleep."""

    object: Literal["list"]
    data: list[ModelCard]


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
async def create_embeddings(body: EmbeddingsRequest, services: ServicesOf, _: Response) -> Response:
    """Embeddings of texts or token ids."""
    async with Deadline(services.settings.ingress.deadline_s):
        await services.catalogue.refuse_other(body.model, "sts", wanted="embeddings")
        embeddings = await embed(services, body.input)
    encode = _base64 if body.encoding_format == "base64" else _floats
    tokens = sum(one.tokens for one in embeddings)
    content = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(one)} for index, one in enumerate(embeddings)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(content, truncated=any(one.truncated for one in embeddings))


def _base64(one: Embedding) -> str:
    return base64.b64encode(one.vector.astype("<f4").tobytes()).decode()


def _floats(one: Embedding) -> list[float]:
    numbers: list[float] = one.vector.tolist()
    return numbers


@router.get("/v1/models", response_model_exclude_none=True)
async def list_models(services: ServicesOf) -> ModelList:
    """The models by task."""
    async with Deadline(services.settings.ingress.deadline_s):
        models = await services.catalogue.models()
    cards = [_card(task, model, services.catalogue) for task, model in models.items()]
    return ModelList(object="list", data=cards)


@router.get("/v1/models/{model:path}", response_model_exclude_none=True)
async def show_model(model: Annotated[str, InPath(min_length=1)], services: ServicesOf) -> ModelCard:
    """One model, by its task, its name, its digest or its base model."""
    async with Deadline(services.settings.ingress.deadline_s):
        task = await services.catalogue.task_of(model)
        models = await services.catalogue.models()
    return _card(task, models.get(task, {}), services.catalogue)


def _card(task: str, model: dict[str, Any], catalogue: Catalogue) -> ModelCard:
    return ModelCard(
        id=task,
        object="model",
        created=catalogue.started_s,
        owned_by="munjang",
        name=model.get("name"),
        kind=model.get("kind"),
        checkpoint=model.get("digest"),
        max_tokens=model.get("max_tokens"),
    )
