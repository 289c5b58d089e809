"""Make token batches without a tokenizer and engine choices without a checkpoint."""

from typing import Any

import numpy as np

from pipelines.engines.choice import Choice
from pipelines.text.token_batch import CheckpointRef, TokenBatch


def batch_of(*items: list[int], kind: int = 1) -> TokenBatch:
    """A batch with one item per list of ids; all tokens have the type `kind`."""
    flat = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=CheckpointRef("digest", "classifier", 0.5),
        ids=np.array(flat, dtype=np.int32),
        types=np.full(len(flat), kind, dtype=np.uint8),
        lengths=np.array([len(item) for item in items], dtype=np.int32),
        truncated=np.zeros(len(items), dtype=np.bool_),
    )


def random_batch(lengths: list[int], vocab_size: int, seed: int = 0) -> TokenBatch:
    """A batch with random ids; within an item, the tokens of type 0 come before those of type 1."""
    draw = np.random.default_rng(seed)
    types = [np.arange(length) >= draw.integers(length + 1) for length in lengths]
    return TokenBatch(
        checkpoint=CheckpointRef("digest", "classifier", 0.5),
        ids=draw.integers(vocab_size, size=sum(lengths), dtype=np.int32),
        types=np.concatenate(types).astype(np.uint8),
        lengths=np.array(lengths, dtype=np.int32),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )


def cpu(**changes: Any) -> Choice:
    """PyTorch in float32 on the CPU, with `changes` applied."""
    settings: dict[str, Any] = {"backend": "torch", "device": "cpu", "dtype": "float32", "threads": 1, "slots": 1}
    return Choice(**{**settings, **changes})


def items_of(batch: TokenBatch) -> list[TokenBatch]:
    """Each item in a batch of its own."""
    return [TokenBatch.take([(batch, item)]) for item in range(len(batch))]
