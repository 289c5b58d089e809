"""The path of an acceptability request: tokenize, then classify."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pipelines.engines.model_stage import ModelStage
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Acceptability:
    """`probability` is that of "acceptable"; `truncated` says whether the passage was cut.

    `acceptable` is probability >= the checkpoint's threshold, `tokens` the number of tokens that were read, and
    `checkpoint` the digest of the checkpoint that computed the probability.
    """

    probability: float
    truncated: bool
    acceptable: bool = False
    tokens: int = 0
    checkpoint: str = ""


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
        made_by = tokens.checkpoint
        threshold = DEFAULT_THRESHOLD if made_by.threshold is None else made_by.threshold
        rows = zip(outcome.full_rows().tolist(), tokens.truncated.tolist(), tokens.lengths.tolist(), strict=True)
        return [
            outcome.errors.get(i)
            or Acceptability(probability, truncated, probability >= threshold, length, made_by.digest)
            for i, (probability, truncated, length) in enumerate(rows)
        ]
