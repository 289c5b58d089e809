"""The path of a chat request: embed the question, find passages, answer from them."""

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
    """An open store that can be searched."""

    name: str
    checkpoint: str  # digest of the checkpoint that embedded its passages

    async def search(self, text: str, vector: NDArray[np.float32], limit: int) -> list[Passage]:
        """Find passages by words and by vector, best first."""

    async def matching(self, text: str, limit: int) -> list[Passage]:
        """Find passages by words alone, best first."""


class OpenStores(Protocol):
    """The stores below one root folder."""

    async def get(self, db_path: str) -> Searchable:
        """Return the open store that `db_path` names. Raises StoreNotFound, StoreCorrupt."""


class Answers(Protocol):
    """A way to answer from the passages found."""

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """Return the whole answer."""

    def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """Yield the answer in pieces, then the whole reply."""


class ChatPipeline:
    """Answers chat requests.

    embed     returns a question's embedding, or None where the STS checkpoint is a cross-encoder, which gives none
    passages  number of passages that an answer is made from

    A store is searched by words alone where there is no embedding, or where another checkpoint embedded the store.
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
        self._warned_of: set[tuple[str, str, str]] = set()

    async def __call__(self, request: ChatRequest) -> Reply:
        """Return the whole answer. Raises StoreError, ProviderError, and what the models raise."""
        return await self._answers.reply(request, await self._find(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """Yield the answer in pieces as they arrive, then the whole reply. Raises the same."""
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
        """Whether the vectors can't be compared, as they come from different checkpoints. Warns once for each store."""
        if embedding.checkpoint == store.checkpoint:
            return False
        mismatch = (store.name, store.checkpoint, embedding.checkpoint)
        if mismatch not in self._warned_of:
            self._warned_of.add(mismatch)
            logger.warning(
                "%s; until the store is built again, it is searched by words alone", StoreMismatch(*mismatch)
            )
        return True
