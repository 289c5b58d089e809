"""Persona chat at request time: embed the question, find passages, answer from them."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.chat.request import ChatRequest, Grounds, Reply
from pipelines.chat.store.passage import Passage
from pipelines.errors import StoreMismatch
from pipelines.sts.pipeline import Embedding

logger = logging.getLogger(__name__)


class Searchable(Protocol):
    """An open store."""

    name: str
    checkpoint: str  # digest of the one that its passages were embedded by

    async def search(self, text: str, vector: NDArray[np.float32], limit: int) -> list[Passage]:
        """By words and by vector, best first."""

    async def matching(self, text: str, limit: int) -> list[Passage]:
        """By words alone, best first."""


class OpenStores(Protocol):
    """The stores under one root."""

    async def get(self, db_path: str) -> Searchable:
        """Raises StoreNotFound, StoreCorrupt."""


class Answers(Protocol):
    """How an answer is made of what was found."""

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """The whole answer."""

    def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """The answer in pieces, then whole."""


class ChatPipeline:
    """Requests to replies.

    embed     a question's embedding, or None where the STS checkpoint is a cross-encoder, which has none: passages are
              then found by words alone, as in a store of another checkpoint than the embedding's
    passages  how many the answer is made of
    """

    def __init__(
        self,
        stores: OpenStores,
        embed: Callable[[str], Awaitable[Embedding | None]],
        answers: Answers,
        *,
        passages: int,
    ) -> None:
        self._stores = stores
        self._embed = embed
        self._answers = answers
        self._passages = passages
        self._told_of: set[tuple[str, str, str]] = set()

    async def __call__(self, request: ChatRequest) -> Reply:
        """The whole answer. Raises StoreError, ProviderError, and what the stages raise."""
        return await self._answers.reply(request, await self._find(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """The answer in pieces, as they come, and last the whole of it. Raises the same."""
        async with aclosing(self._answers.stream(request, await self._find(request))) as pieces:
            async for piece in pieces:
                yield piece

    async def _find(self, request: ChatRequest) -> Grounds:
        store = await self._stores.get(request.db_path)
        embedding = await self._embed(request.prompt)
        if embedding is None or self._of_another_checkpoint(store, embedding):
            found = await store.matching(request.prompt, self._passages)
        else:
            found = await store.search(request.prompt, embedding.vector, self._passages)
        return Grounds(store.name, tuple(found), embedding)

    def _of_another_checkpoint(self, store: Searchable, embedding: Embedding) -> bool:
        """Such vectors can't be compared; the operator is told once of each such store."""
        if embedding.checkpoint == store.checkpoint:
            return False
        mismatch = (store.name, store.checkpoint, embedding.checkpoint)
        if mismatch not in self._told_of:
            self._told_of.add(mismatch)
            logger.warning("%s; until it is built anew, it is searched by words alone", StoreMismatch(*mismatch))
        return True
