"""A scripted model for the tests of the batcher, and what they wait for."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.batching.batcher import Batcher
from deployments.batching.lone_run import LoneRun
from deployments.settings import BatchSettings
from pipelines.text.token_batch import CheckpointRef, TokenBatch

POISON = 666
CHECKPOINT = CheckpointRef("digest", "bi-encoder", None)


def tokens(items: Sequence[Sequence[int]]) -> TokenBatch:
    ids = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=CHECKPOINT,
        ids=np.array(ids, dtype=np.int32),
        types=np.zeros(len(ids), dtype=np.uint8),
        lengths=np.array([len(item) for item in items], dtype=np.int32),
        truncated=np.zeros(len(items), dtype=np.bool_),
    )


class Sums:
    """A model whose rows are (sum of ids, number of ids). A poisoned item fails the whole batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.starts = threading.Semaphore(0)
        self.release = threading.Event()
        self.release.set()

    def all_started(self, count: int) -> None:
        for _ in range(count):
            assert self.starts.acquire(timeout=10)

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        self.batches.append(batch.lengths.tolist())
        self.started.set()
        self.starts.release()
        assert self.release.wait(10)
        if POISON in batch.ids:
            raise ValueError("secret text")
        parts = np.split(batch.ids, batch.starts[1:-1])
        return np.array([[part.sum(), len(part)] for part in parts])


def batcher(model: Sums, max_tokens: int = 64, slots: int = 1) -> Batcher:
    """A batcher whose batches do not depend on the speed of this machine."""
    return Batcher(model.run, BatchSettings(max_tokens=max_tokens, target_batch_s=1000), slots=slots)


def finish_loading(lone: LoneRun) -> None:
    """Wait until the model that runs lone items, which has begun to load, is loaded or has failed to."""
    assert lone._loader is not None
    lone._loader.join(60)
    assert not lone._loader.is_alive()


async def busy(model: Sums, batching: Batcher) -> "asyncio.Task[Any]":
    """Submit a first batch, which occupies the model thread until `model.release` is set."""
    model.release.clear()
    first = asyncio.create_task(batching.submit(tokens([[1]])))
    await asyncio.to_thread(model.started.wait, 10)
    return first
