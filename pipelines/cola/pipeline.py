"""The path of an acceptability request: tokenize, then classify."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pipelines.engines.model_stage import ModelStage
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class Acceptability:
    """`probability` is that of "acceptable"; `truncated` says whether the passage was cut."""

    probability: float
    truncated: bool


class ColaPipeline:
    """Takes passages and returns one result or error for each, in order."""

    def __init__(self, tokenize: Callable[[Sequence[str]], Awaitable[TokenBatch]], classify: ModelStage) -> None:
        self._tokenize = tokenize
        self._classify = classify

    async def __call__(self, passages: Sequence[str]) -> list[Acceptability | MunjangError]:
        """Classify the passages."""
        if not passages:
            return []
        tokens = await self._tokenize(passages)
        outcome = await self._classify(tokens)
        rows = zip(outcome.full_rows().tolist(), tokens.truncated.tolist(), strict=True)
        return [outcome.errors.get(i) or Acceptability(*row) for i, row in enumerate(rows)]
