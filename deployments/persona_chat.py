"""The chat deployment: answers questions about the documents of a store, with the help of other deployments."""

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from ray import serve

from deployments.calls.one_checkpoint import OneCheckpoint
from deployments.calls.remote_pipelines import Handle, embedding_group_commit, qa_group_commit
from deployments.calls.without_messages import stream_without_messages, without_messages
from deployments.metrics.publish import start_publishing
from deployments.reports import CallReports, ReplicaReport
from deployments.settings import ChatSettings, Settings
from deployments.tracing.spans import span_of, start_tracing
from pipelines.chat.extractive import Embed, Extract, ExtractiveAnswers
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

NEVER_NULL = math.inf  # the chat itself compares the null scores of all passages

OPERATOR_ERRORS = (StoreCorrupt, ProviderRejected, ProviderFailed, ProviderAnswerUnusable, ProviderTimedOut)


@serve.deployment
class PersonaChat:
    """Answers chats. It mostly waits: for embeddings, searches, spans, and the provider."""

    def __init__(self, settings: Settings, sts: tuple[Handle, Handle], qa: tuple[Handle, Handle]) -> None:
        """`sts` and `qa` are the handles of each task's tokenizer and model."""
        self._settings = settings.chat
        questions = embedding_group_commit(settings.chat.group_commit, *sts, role="query")
        sentences = embedding_group_commit(settings.chat.group_commit, *sts, role="document")
        spans = qa_group_commit(settings.chat.group_commit, *qa, null_threshold=NEVER_NULL)
        self._pipeline = ChatPipeline(
            Stores(stores_root(settings.chat.stores), settings.chat.open_stores, settings.chat.open_bytes),
            warn_once_without_embedding(questions.submit),
            answers_of(settings.chat, OneCheckpoint(spans).submit_all, sentences.submit_all),
            passages=settings.chat.passages,
        )
        start_publishing()
        start_tracing(settings.tracing, "PersonaChat")
        self._chats = 0
        self._calls = CallReports({"StsEncoder": [questions, sentences], "QaExtractor": [spans]})

    @without_messages
    async def reply(self, request: ChatRequest, traceparent: str | None = None) -> Reply | MunjangError:
        """Return the whole answer or an error. Errors are not raised: Serve would log them, and callers cause many."""
        self._chats += 1
        try:
            with span_of("chat", [traceparent] if traceparent else []):
                return await self._pipeline(request)
        except MunjangError as error:
            _log_operator_error(error)
            return error

    @stream_without_messages
    async def stream(
        self, request: ChatRequest, traceparent: str | None = None
    ) -> AsyncGenerator[str | Reply | MunjangError]:
        """Yield the answer in pieces and then whole. If it fails, the last item is the error."""
        self._chats += 1
        try:
            with span_of("chat", [traceparent] if traceparent else []):
                async with aclosing(self._pipeline.stream(request)) as pieces:
                    async for piece in pieces:
                        yield piece
        except MunjangError as error:
            _log_operator_error(error)
            yield error

    def info(self) -> dict[str, Any]:
        """For /info: the kind of the answers, and the provider's model."""
        provider = self._settings.provider
        return {"kind": "generative" if provider else "extractive", "model": provider.model if provider else None}

    async def report(self) -> ReplicaReport:
        """For /v1/graph: what `ReplicaReport` says."""
        return self._calls.report(requests=self._chats)


def _log_operator_error(error: MunjangError) -> None:
    if isinstance(error, OPERATOR_ERRORS):
        logger.warning("a chat failed: %s", error)


def answers_of(settings: ChatSettings, extract: Extract, embed: Embed) -> Answers:
    """Answers of the provider if the settings name one, else those of `ExtractiveAnswers`."""
    if settings.provider is None:
        return ExtractiveAnswers(
            extract,
            embed,
            sentences=settings.sentences,
            cosine_weight=settings.cosine_weight,
            margin_weight=settings.margin_weight,
            threshold=settings.threshold,
            unknown=settings.unknown,
        )
    from pipelines.chat.generative import GenerativeAnswers  # only a provider needs the HTTP client
    from pipelines.chat.provider import Provider

    logger.info("chats are answered by %s", settings.provider.model)
    return GenerativeAnswers(Provider(settings.provider), persona=settings.persona)


def warn_once_without_embedding(
    embed: Callable[[str], Awaitable[Embedding | None]],
) -> Callable[[str], Awaitable[Embedding | None]]:
    """Wrap `embed`: log a warning the first time that it returns None."""
    warned = False

    async def embed_and_warn(text: str) -> Embedding | None:
        nonlocal warned
        embedding = await embed(text)
        if embedding is None and not warned:
            warned = True
            logger.warning(
                "the STS checkpoint is a cross-encoder and has no embeddings: the chat finds passages by words alone"
            )
        return embedding

    return embed_and_warn
