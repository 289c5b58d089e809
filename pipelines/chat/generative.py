"""Answers of a language model that is shown the passages found."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pipelines.chat.prompt import messages
from pipelines.chat.provider import Provider
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply


class GenerativeAnswers:
    """Answers of a provider's model in the role of the persona. Each cites all passages that the model was shown."""

    def __init__(self, provider: Provider, *, persona: str) -> None:
        self._provider = provider
        self._persona = persona

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """Return the whole answer. Raises ProviderError."""
        conversation = messages(self._persona, request.prompt, grounds.passages)
        return Reply(await self._provider.complete(conversation, request.key), _citations(grounds), grounds.passages)

    async def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """Yield the answer in pieces as they arrive, then the whole reply. Raises ProviderError."""
        conversation = messages(self._persona, request.prompt, grounds.passages)
        pieces: list[str] = []
        async with aclosing(self._provider.stream(conversation, request.key)) as stream:
            async for piece in stream:
                pieces.append(piece)
                yield piece
        yield Reply("".join(pieces), _citations(grounds), grounds.passages)


def _citations(grounds: Grounds) -> tuple[Citation, ...]:
    return tuple(Citation.of(grounds.store, passage) for passage in grounds.passages)
