"""The answer of a language model that was shown the passages."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pipelines.chat.prompt import messages
from pipelines.chat.provider import Provider
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply


class GenerativeAnswers:
    """What a provider's model says in the role of the persona; all passages that it was shown are cited."""

    def __init__(self, provider: Provider, *, persona: str) -> None:
        self._provider = provider
        self._persona = persona

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """The whole answer. Raises ProviderError."""
        said = messages(self._persona, request.prompt, grounds.passages)
        return Reply(await self._provider.complete(said, request.key), _citations(grounds))

    async def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """The answer in pieces as they come, then whole. Raises ProviderError."""
        said, pieces = messages(self._persona, request.prompt, grounds.passages), list[str]()
        async with aclosing(self._provider.stream(said, request.key)) as stream:
            async for piece in stream:
                pieces.append(piece)
                yield piece
        yield Reply("".join(pieces), _citations(grounds))


def _citations(grounds: Grounds) -> tuple[Citation, ...]:
    return tuple(Citation.of(grounds.store, passage) for passage in grounds.passages)
