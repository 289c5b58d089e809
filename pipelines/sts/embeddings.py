"""Embeddings of single texts at request time: tokenize, encode."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.model_stage import ModelStage
from pipelines.errors import MunjangError
from pipelines.format.manifest import Role
from pipelines.sts.pipeline import NO_EMBEDDINGS
from pipelines.text.token_batch import TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """vector (dimensions,) of unit length, and the digest of the checkpoint that made it."""

    vector: NDArray[np.float32]
    checkpoint: str


class EmbeddingPipeline:
    """Texts in, one embedding or error per text out, in order; None for each where the checkpoint is a cross-encoder,
    which scores pairs and embeds nothing. `role` is that of all texts."""

    def __init__(
        self, tokenize: Callable[[Sequence[str], Role], Awaitable[TokenBatch]], encode: ModelStage, *, role: Role
    ) -> None:
        self._tokenize = tokenize
        self._encode = encode
        self._role = role

    async def __call__(self, texts: Sequence[str]) -> list[Embedding | MunjangError | None]:
        """Embed the texts."""
        if not texts:
            return []
        tokens = await self._tokenize(texts, self._role)
        if tokens.checkpoint.kind != "bi-encoder":
            return [None] * len(texts)
        outcome = await self._encode(tokens)
        rows = outcome.full_rows(NO_EMBEDDINGS)
        digest = tokens.checkpoint.digest
        return [outcome.errors.get(item) or Embedding(row, digest) for item, row in enumerate(rows)]
