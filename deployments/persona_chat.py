"""The chat deployment: questions to the documents of a store, answered by way of other deployments."""

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from ray import serve

from deployments.calls.one_checkpoint import OneCheckpoint
from deployments.calls.remote_pipelines import Handle, embedding_group_commit, qa_group_commit
from deployments.settings import ChatSettings, Settings
from pipelines.chat.extractive import ExtractiveAnswers
from pipelines.chat.pipeline import Answers, ChatPipeline
from pipelines.chat.request import ChatRequest, Reply
from pipelines.chat.store.stores import Stores, stores_root
from pipelines.errors import (
    MunjangError,
    ProviderAnswerUnusable,
    ProviderFailed,
    ProviderRejected,
    ProviderTimedOut,
    StoreCorrupt,
)
from pipelines.sts.pipeline import Embedding

logger = logging.getLogger("ray.serve")

ALWAYS_A_SPAN = math.inf  # the chat compares null scores over passages itself

THE_OPERATORS = (StoreCorrupt, ProviderRejected, ProviderFailed, ProviderAnswerUnusable, ProviderTimedOut)  # to mend


@serve.deployment
class PersonaChat:
    """Waits for others most of the time: for embeddings, searches, spans, and the provider."""

    def __init__(self, settings: Settings, sts: tuple[Handle, Handle], qa: tuple[Handle, Handle]) -> None:
        """The handles are each task's tokenizer's and model's."""
        self._settings = settings.chat
        self._pipeline = ChatPipeline(
            Stores(stores_root(settings.chat.stores), settings.chat.open_stores, settings.chat.open_bytes),
            telling_once(embedding_group_commit(settings.chat.group_commit, *sts, role="query").submit),
            answers_of(settings.chat, sts, qa),
            passages=settings.chat.passages,
        )

    async def reply(self, request: ChatRequest) -> Reply | MunjangError:
        """The whole answer, or the error: returned, since Serve logs what is raised, and any client can cause some."""
        try:
            return await self._pipeline(request)
        except MunjangError as error:
            _tell_the_operator(error)
            return error

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply | MunjangError]:
        """The answer in pieces, as they come, then whole; or in its place the error."""
        try:
            async with aclosing(self._pipeline.stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
        except MunjangError as error:
            _tell_the_operator(error)
            yield error

    def info(self) -> dict[str, Any]:
        """For /info: who answers."""
        provider = self._settings.provider
        return {"kind": "generative" if provider else "extractive", "model": provider.model if provider else None}


def _tell_the_operator(error: MunjangError) -> None:
    if isinstance(error, THE_OPERATORS):
        logger.warning("a chat failed: %s", error)


def answers_of(settings: ChatSettings, sts: tuple[Handle, Handle], qa: tuple[Handle, Handle]) -> Answers:
    """The provider's answers where one is set, or else the extractor's."""
    if settings.provider is None:
        group_commit = qa_group_commit(settings.group_commit, *qa, null_threshold=ALWAYS_A_SPAN)
        return ExtractiveAnswers(
            OneCheckpoint(group_commit).submit_all,
            embedding_group_commit(settings.group_commit, *sts, role="document").submit_all,
            sentences=settings.sentences,
            cosine_weight=settings.cosine_weight,
            margin_weight=settings.margin_weight,
            threshold=settings.threshold,
            unknown=settings.unknown,
        )
    from pipelines.chat.generative import GenerativeAnswers  # the client takes half a second to import
    from pipelines.chat.provider import Provider

    logger.info("chats are answered by %s", settings.provider.model)
    return GenerativeAnswers(Provider(settings.provider), persona=settings.persona)


def telling_once(embed: Callable[[str], Awaitable[Embedding | None]]) -> Callable[[str], Awaitable[Embedding | None]]:
    """`embed` that says, the first time, that stores are searched by words alone where there is no embedding."""
    told = False

    async def telling(text: str) -> Embedding | None:
        nonlocal told
        embedding = await embed(text)
        if embedding is None and not told:
            told = True
            logger.warning(
                "the STS checkpoint, a cross-encoder, embeds nothing: the chat finds passages by words alone"
            )
        return embedding

    return telling
