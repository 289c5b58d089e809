import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from deployments.batching.queue import Priority
from deployments.calls.group_commit import GroupCommit
from deployments.calls.remote_pipelines import group_commit_of, model_stage
from deployments.metrics.group_commit import GroupCommitMetrics
from deployments.settings import GroupCommitSettings
from pipelines.engines.model_stage import Outcome
from tests.deployments.metrics.samples import value
from tests.deployments.sums import tokens


@pytest.fixture
def labels() -> dict[str, str]:
    """Labels that only this test has."""
    return {"task": "sts", "items": str(uuid4())}


def test_calls_and_waiting_items_are_recorded(labels: dict[str, str]) -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def call(items: Sequence[int]) -> list[int]:
            await release.wait()
            return list(items)

        commit = GroupCommit[int, int](
            call, max_calls=1, max_items=8, max_waiting=8, metrics=GroupCommitMetrics(**labels)
        )
        submitted = [asyncio.create_task(commit.submit(item)) for item in range(4)]
        await asyncio.sleep(0.01)
        assert value("munjang_group_commit_waiting_items", labels) == 3
        assert value("munjang_group_commit_age_seconds", labels) > 0
        release.set()
        assert await asyncio.gather(*submitted) == [0, 1, 2, 3]
        assert value("munjang_group_commit_waiting_items", labels) == 0
        assert value("munjang_group_commit_age_seconds", labels) == 0

    asyncio.run(scenario())
    assert value("munjang_call_items_sum", labels) == 4
    assert value("munjang_call_items_count", labels) == 2
    assert value("munjang_call_seconds_sum", labels) > 0.01


class Model:
    """A handle on a model that answers any batch."""

    deployment_name = "StsEncoder"

    @property
    def run(self) -> "Model":
        return self

    async def remote(self, *_: Any) -> Outcome:
        return Outcome(np.ones(1))


@pytest.mark.parametrize("asks_the_model", [True, False])
def test_post_processing_begins_when_the_model_has_answered(labels: dict[str, str], asks_the_model: bool) -> None:
    async def pipeline(items: Sequence[int]) -> list[int]:
        await asyncio.sleep(0.02)
        if asks_the_model:
            await model_stage(Model(), Priority.INTERACTIVE)(tokens([[1]]))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        return list(items)

    commit = group_commit_of(pipeline, GroupCommitSettings(), lambda _: 1, metrics=GroupCommitMetrics(**labels))
    assert asyncio.run(commit.submit(1)) == 1
    assert value("munjang_postprocess_seconds_count", labels) == asks_the_model
    if asks_the_model:
        total_s = value("munjang_call_seconds_sum", labels)
        assert 0.01 <= value("munjang_postprocess_seconds_sum", labels) < total_s - 0.01
