"""The path of a similarity request: tokenize, encode, compare."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.model_stage import ModelStage, Outcome
from pipelines.errors import MunjangError, WrongKind
from pipelines.format.manifest import Role
from pipelines.format.token_ids import TextOrIds, TokenizedInputs
from pipelines.format.tokenizer import SentencePairs
from pipelines.text.token_batch import TokenBatch

Pair = tuple[str, str]

NO_EMBEDDINGS = np.empty((0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Similarity:
    """`score` is a cosine in [-1, 1], or in [0, 5] from a cross-encoder; `similar` is score >= threshold.

    `checkpoint` is the digest of the checkpoint that computed the score, and `kind` its kind; `tokens` is the number of
    tokens that were read.
    """

    score: float
    similar: bool
    truncated: bool
    checkpoint: str
    kind: str = "bi-encoder"
    tokens: int = 0


class StsPipeline:
    """Takes pairs and returns one result or error for each, in order. If `threshold` is None, the checkpoint's own one
    applies."""

    def __init__(
        self,
        tokenize: Callable[[Sequence[Pair]], Awaitable[SentencePairs]],
        encode: ModelStage,
        *,
        threshold: float | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._encode = encode
        self._threshold = threshold

    async def __call__(self, pairs: Sequence[Pair]) -> list[Similarity | MunjangError]:
        """Score the pairs. A pair fails if either of its sentences failed."""
        if not pairs:
            return []
        tokenized = await self._tokenize(pairs)
        outcome = await self._encode(tokenized.tokens)
        rows = outcome.full_rows(NO_EMBEDDINGS)
        made_by = tokenized.tokens.checkpoint
        scores = cosines(rows, tokenized.rows) if made_by.kind == "bi-encoder" else rows[tokenized.rows[:, 0]]
        threshold = self._threshold if self._threshold is not None else made_by.threshold
        rest = zip(tokenized.rows, scores.tolist(), tokenized.truncated, tokenized.lengths, strict=True)
        return [
            outcome.error_of(items)
            or Similarity(
                score, threshold is not None and score >= threshold, truncated, made_by.digest, made_by.kind, tokens
            )
            for items, score, truncated, tokens in rest
        ]


def cosines(embeddings: NDArray[Any], rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Cosines (pairs,). `embeddings` (sentences, dimensions) have unit length; `rows` (pairs, 2) are the indexes of the
    two sentences of each pair."""
    products: NDArray[np.float32] = np.einsum("pd,pd->p", embeddings[rows[:, 0]], embeddings[rows[:, 1]])
    return np.clip(products, -1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A vector (dimensions,) of unit length, and the digest of the checkpoint that computed it.

    `tokens` is the number of tokens that were read, and `truncated` says whether the text was cut.
    """

    vector: NDArray[np.float32]
    checkpoint: str
    tokens: int = 0
    truncated: bool = False


class EmbeddingPipeline:
    """Takes texts and returns one embedding or error for each, in order. All texts have the role `role`.

    If the checkpoint is a cross-encoder, which only scores pairs, it returns None for each text.
    """

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


class InputPipeline:
    """Takes (text or token ids, role) inputs and returns one embedding or error for each, in order.

    If the checkpoint is a cross-encoder, which only scores pairs, each input has the error WrongKind.
    """

    def __init__(
        self,
        tokenize: Callable[[Sequence[tuple[TextOrIds, Role]]], Awaitable[TokenizedInputs]],
        encode: ModelStage,
    ) -> None:
        self._tokenize = tokenize
        self._encode = encode

    async def __call__(self, inputs: Sequence[tuple[TextOrIds, Role]]) -> list[Embedding | MunjangError]:
        """Embed the inputs."""
        tokenized = await self._tokenize(inputs)
        tokens = tokenized.tokens
        if tokens.checkpoint.kind != "bi-encoder":
            return [WrongKind("the similarity checkpoint is a cross-encoder, which has no embeddings")] * len(inputs)
        outcome = await self._encode(tokens) if len(tokens) else Outcome(NO_EMBEDDINGS)
        rows = zip(outcome.full_rows(NO_EMBEDDINGS), tokens.lengths.tolist(), tokens.truncated.tolist(), strict=True)
        digest = tokens.checkpoint.digest
        good = iter(
            [
                outcome.errors.get(item) or Embedding(row, digest, length, cut)
                for item, (row, length, cut) in enumerate(rows)
            ]
        )
        return [tokenized.faults.get(number) or next(good) for number in range(len(inputs))]
