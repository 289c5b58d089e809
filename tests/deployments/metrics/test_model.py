import asyncio
import threading
import time
from uuid import uuid4

import pytest

from deployments.batching.batcher import Batcher
from deployments.batching.cache import RowCache
from deployments.batching.queue import Priority
from deployments.metrics.model import ModelMetrics
from deployments.settings import BatchSettings
from tests.deployments.metrics.samples import value
from tests.deployments.sums import POISON, Sums, busy, tokens


@pytest.fixture
def labels() -> dict[str, str]:
    """Labels that only this test has."""
    return {"task": "sts", "engine": "none", "checkpoint": str(uuid4())}


def batcher(model: Sums, labels: dict[str, str]) -> Batcher:
    return Batcher(model.run, BatchSettings(target_batch_s=1000), metrics=ModelMetrics(**labels))


def test_a_batch_is_recorded_with_its_items_tokens_and_padding(labels: dict[str, str]) -> None:
    asyncio.run(batcher(Sums(), labels).submit(tokens([[1], [1, 2], [1, 2, 3]])))
    assert value("munjang_forward_seconds_count", labels) == 1
    assert value("munjang_forward_seconds_sum", labels) > 0
    assert value("munjang_batch_items_sum", labels) == 3
    assert value("munjang_batch_tokens_sum", labels) == 9
    assert value("munjang_padding_tokens_total", labels) == 3
    assert value("munjang_engine_failures_total", labels) == 0


def test_the_wait_in_the_queue_is_recorded_for_each_call(labels: dict[str, str]) -> None:
    async def scenario() -> None:
        model = Sums()
        batching = batcher(model, labels)
        first = await busy(model, batching)
        others = [asyncio.create_task(batching.submit(tokens([[1, 2]]))) for _ in range(2)]
        await asyncio.sleep(0)
        assert value("munjang_queue_items", labels) == 2
        assert value("munjang_queue_tokens", labels) == 4
        submitted_s = time.monotonic()
        while value("munjang_queue_age_seconds", labels) <= 0.01:
            assert time.monotonic() < submitted_s + 10
        model.release.set()
        await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert value("munjang_queue_wait_seconds_count", labels) == 3
    assert value("munjang_queue_wait_seconds_sum", labels) > 0.02  # both of the others waited as long as was seen
    for name in ("munjang_queue_items", "munjang_queue_tokens", "munjang_queue_age_seconds"):
        assert value(name, labels) == 0


def test_a_failed_batch_counts_once_and_not_as_a_batch_that_ran(labels: dict[str, str]) -> None:
    asyncio.run(batcher(Sums(), labels).submit(tokens([[1], [2], [POISON]])))
    assert value("munjang_engine_failures_total", labels) == 1
    assert value("munjang_batch_items_sum", labels) == 2  # the halves that ran again, without the item at fault


def test_the_cache_counts_items_that_it_has_and_has_not(labels: dict[str, str]) -> None:
    async def scenario() -> None:
        batching = batcher(Sums(), labels)
        cache = RowCache(10_000, ModelMetrics(**labels))
        await cache.complete(tokens([[1], [2]]), Priority.INTERACTIVE, batching.submit)
        await cache.complete(tokens([[2], [3], [1]]), Priority.INTERACTIVE, batching.submit)

    asyncio.run(scenario())
    assert value("munjang_cache_hits_total", labels) == 2
    assert value("munjang_cache_misses_total", labels) == 3


def test_threads_count_together(labels: dict[str, str]) -> None:
    metrics = ModelMetrics(**labels)
    threads = [threading.Thread(target=lambda: [metrics.ran(0.1, 1, 2, 3) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value("munjang_batch_items_sum", labels) == 800
