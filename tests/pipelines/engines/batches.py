"""Token batches without a tokenizer."""

from collections.abc import Sequence

import numpy as np

from pipelines.tokens import CheckpointRef, TokenBatch


def batch_of(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> TokenBatch:
    """Random tokens, no special ones; in each item the first half is of type 0, the rest of type 1."""
    draw = np.random.default_rng(seed)
    types = [int(2 * position >= length > 1) for length in lengths for position in range(length)]
    return TokenBatch(
        checkpoint=CheckpointRef("digest", "classifier", 0.5),
        ids=draw.integers(5, vocabulary, sum(lengths), dtype=np.int32),
        types=np.array(types, dtype=np.uint8),
        lengths=np.array(lengths, dtype=np.int32),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )


def items_of(batch: TokenBatch) -> list[TokenBatch]:
    """Each item in a batch of its own."""
    return [TokenBatch.gather([(batch, item)]) for item in range(len(batch))]
