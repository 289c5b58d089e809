"""Pipelines over other deployments, for the ingress and the chat. A whole batch takes one call of each deployment."""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from time import perf_counter
from typing import Any, TypeAlias

from ray.serve.handle import DeploymentHandle

from deployments.batching.queue import Priority
from deployments.calls.group_commit import GroupCommit
from deployments.calls.remote import RemoteStage, retry_mismatch
from deployments.calls.request_work import CALL
from deployments.metrics.group_commit import GroupCommitMetrics
from deployments.settings import GroupCommitSettings
from deployments.tracing.spans import current, record
from pipelines.engines.model_stage import ModelStage, Outcome
from pipelines.format.manifest import Role
from pipelines.qa.pipeline import QaPipeline, Request
from pipelines.qa.reading import Findings, Reading, ReadingPipeline
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, EmbeddingPipeline
from pipelines.text.token_batch import TokenBatch

WAITING_IN_LISTS = 16_384

Handle: TypeAlias = DeploymentHandle[Any]

_model_done_s: ContextVar[float] = ContextVar("_model_done_s")
"""When the model returned its outputs to the pipeline that runs in this context."""


def qa_group_commit(
    settings: GroupCommitSettings,
    tokenizer: Handle,
    extractor: Handle,
    *,
    null_threshold: float | None,
    priority: Priority = Priority.INTERACTIVE,
    bulk_items: int | None = None,
) -> GroupCommit[Request, Answer]:
    """Answer (question, context) requests. See `QaPipeline` and `group_commit_of` for the options."""
    pipeline = QaPipeline(
        tokenizer_stage(tokenizer, "windows"), model_stage(extractor, priority), null_threshold=null_threshold
    )
    metrics = GroupCommitMetrics("qa", "questions" if priority is Priority.INTERACTIVE else "job_questions")
    return group_commit_of(
        pipeline, settings, lambda request: len(request[0]) + len(request[1]), metrics=metrics, bulk_items=bulk_items
    )


def embedding_group_commit(
    settings: GroupCommitSettings, tokenizer: Handle, encoder: Handle, role: Role
) -> GroupCommit[str, Embedding | None]:
    """Embed texts of one role. The results are None if the checkpoint is a cross-encoder."""
    pipeline = EmbeddingPipeline(
        RemoteStage(tokenizer, "passages", traced=True), model_stage(encoder, Priority.INTERACTIVE), role=role
    )
    return group_commit_of(pipeline, settings, len, metrics=GroupCommitMetrics("sts", f"{role}_texts"))


def reading_group_commit(
    settings: GroupCommitSettings,
    tokenizer: Handle,
    extractor: Handle,
    priority: Priority,
    *,
    null_threshold: float | None,
    gives_way_to: GroupCommit[Reading, Findings] | None = None,
) -> GroupCommit[Reading, Findings]:
    """Find the candidates of readings. `null_threshold` is that of `QaPipeline`."""
    pipeline = ReadingPipeline(
        tokenizer_stage(tokenizer, "windows"), model_stage(extractor, priority), null_threshold=null_threshold
    )
    metrics = GroupCommitMetrics("qa", f"{priority.name.lower()}_readings")
    return group_commit_of(
        pipeline,
        settings,
        lambda reading: len(reading.question) + len(reading.context),
        metrics=metrics,
        gives_way_to=gives_way_to,
    )


def for_lists(settings: GroupCommitSettings) -> GroupCommitSettings:
    """The settings of a group commit whose items come in lists: more of them may wait."""
    return settings.model_copy(update={"max_waiting": max(settings.max_waiting, WAITING_IN_LISTS)})


def model_stage(model: Handle, priority: Priority) -> ModelStage:
    """A model deployment as a stage whose calls all have the same priority."""
    run = RemoteStage(model, "run", traced=True)

    async def stage(batch: TokenBatch) -> Outcome:
        outcome: Outcome = await run(batch, priority)
        _model_done_s.set(perf_counter())
        if (call := CALL.get()) is not None:
            call.work, call.place = outcome.work, outcome.place
        return outcome

    return stage


def tokenizer_stage(tokenizer: Handle, method: str) -> Callable[..., Awaitable[Any]]:
    """A method of a tokenizer deployment as a stage whose time is recorded."""
    tokenize = RemoteStage(tokenizer, method, traced=True)

    async def stage(*args: Any) -> Any:
        began_s = perf_counter()
        tokens = await tokenize(*args)
        if (call := CALL.get()) is not None:
            call.tokenized_s = perf_counter() - began_s
        return tokens

    return stage


def group_commit_of(
    pipeline: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]],
    settings: GroupCommitSettings,
    weigh: Callable[[Any], int],
    *,
    metrics: GroupCommitMetrics,
    bulk_items: int | None = None,
    gives_way_to: GroupCommit[Any, Any] | None = None,
) -> GroupCommit[Any, Any]:
    """A group commit in front of a pipeline of remote stages.

    bulk_items  number of items that may wait for as long as it takes; None: the settings limit number and time
    """
    return GroupCommit(
        retry_mismatch(_timed(pipeline, metrics)),
        max_calls=settings.max_calls,
        max_items=settings.max_items,
        max_weight=settings.max_characters,
        max_waiting=settings.max_waiting if bulk_items is None else bulk_items,
        max_wait_s=settings.max_wait_s if bulk_items is None else math.inf,
        weigh=weigh,
        gives_way_to=gives_way_to,
        metrics=metrics,
    )


def _timed(
    pipeline: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]], metrics: GroupCommitMetrics
) -> Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]:
    """Wrap a pipeline so that the time of its post-processing is recorded, where its model was called."""

    async def timed(items: Sequence[Any]) -> Sequence[Any]:
        _model_done_s.set(math.nan)
        results = await pipeline(items)
        seconds = perf_counter() - _model_done_s.get()
        if not math.isnan(seconds):
            metrics.postprocessed(seconds)
            record("post-process", seconds, [span] if (span := current()) else [])
        return results

    return timed
