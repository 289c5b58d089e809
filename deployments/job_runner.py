"""The deployment that works on jobs.

It is a deployment of its own, and no task of the ingress: several ingress replicas would otherwise each send the calls
of jobs, the parsing of rows would delay single requests in the same event loop, and an update or the death of an
ingress replica would stop jobs. Its state is in the ledger and the storage alone. If it dies, Serve starts it again and
it goes on; two of them, as during an update, share the work by their leases.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from ray import serve

from deployments.api.app import DIRECT
from deployments.api.catalogue import Catalogue
from deployments.batching.queue import Priority
from deployments.calls.group_commit import GroupCommit
from deployments.calls.lists import Lists
from deployments.calls.remote import RemoteStage
from deployments.calls.remote_pipelines import Handle, group_commit_of, model_stage, qa_group_commit
from deployments.jobs.endpoints import BulkServices, endpoints_of
from deployments.jobs.place import ledger_of, storage_of
from deployments.jobs.runner import Runner
from deployments.metrics.group_commit import GroupCommitMetrics
from deployments.metrics.publish import start_publishing
from deployments.reports import CallReports, ReplicaReport
from deployments.settings import GroupCommitSettings, Settings, TaskSettings
from deployments.tracing.spans import start_tracing
from pipelines.cola.pipeline import ColaPipeline
from pipelines.sts.pipeline import InputPipeline, StsPipeline

Stages = tuple[Handle, Handle]


@serve.deployment
class JobRunner:
    """Runs jobs with calls of bulk priority to the other deployments."""

    def __init__(self, settings: Settings, sts: Stages, cola: Stages, qa: Stages) -> None:
        """`sts`, `cola` and `qa` are the handles of each task's tokenizer and model."""
        calls = JobCalls(settings)
        pairs, inputs, passages, questions = (
            calls.pairs(*sts),
            calls.inputs(*sts),
            calls.passages(*cola),
            calls.questions(*qa),
        )
        models = {"sts": sts[1], "cola": cola[1], "qa": qa[1]}
        services = BulkServices(
            calls.settings,
            pairs,
            pairs,
            passages,
            questions,
            Lists(inputs, inputs),
            Catalogue(lambda: describe(models)),
        )
        self._runner = Runner(
            ledger_of(settings.jobs),
            storage_of(settings.jobs),
            endpoints_of(DIRECT, services),
            settings.jobs,
            settings.ingress.max_body_bytes,
        )
        self._calls = CallReports(
            {"StsEncoder": [pairs, inputs], "ColaClassifier": [passages], "QaExtractor": [questions]}
        )
        start_publishing()
        start_tracing(settings.tracing, "JobRunner")
        self._running = asyncio.get_running_loop().create_task(self._runner.run())

    async def wake(self) -> None:
        """Look for new jobs now. Without this call the runner notices them within a second."""
        self._runner.wake()

    async def report(self) -> ReplicaReport:
        """For /v1/graph: what `ReplicaReport` says; its requests are the steps of jobs."""
        return self._calls.report(requests=self._runner.steps)

    def check_health(self) -> None:
        """Raise RuntimeError if the runner has ended, so that Serve replaces the replica. Serve calls this method."""
        if self._running.done():
            raise RuntimeError("the job runner has ended")


async def describe(models: Mapping[str, Handle]) -> dict[str, Any]:
    """By task, what its model reports."""
    infos = await asyncio.gather(*(RemoteStage(handle, "info")() for handle in models.values()))
    return dict(zip(models, infos, strict=True))


class JobCalls:
    """Makes the group commits of jobs: of bulk priority, with short calls, and with room for all parts in work.

    settings  those with which the routes are called: a row has more time than a request
    """

    def __init__(self, settings: Settings) -> None:
        self._jobs = settings.jobs
        patient = settings.ingress.model_copy(update={"deadline_s": settings.jobs.row_deadline_s})
        self.settings = settings.model_copy(update={"ingress": patient})

    def pairs(self, tokenizer: Handle, encoder: Handle) -> GroupCommit[Any, Any]:
        """Of pairs of sentences."""
        sts = self.settings.sts
        pipeline = StsPipeline(
            RemoteStage(tokenizer, "sentence_pairs"), model_stage(encoder, Priority.BULK), threshold=sts.threshold
        )
        return self._group_commit(pipeline, sts, "sts", "job_pairs", lambda pair: len(pair[0]) + len(pair[1]))

    def inputs(self, tokenizer: Handle, encoder: Handle) -> GroupCommit[Any, Any]:
        """Of texts or token ids to embed."""
        pipeline = InputPipeline(RemoteStage(tokenizer, "inputs"), model_stage(encoder, Priority.BULK))
        return self._group_commit(pipeline, self.settings.sts, "sts", "job_inputs", lambda one: len(one[0]))

    def passages(self, tokenizer: Handle, classifier: Handle) -> GroupCommit[Any, Any]:
        """Of passages."""
        pipeline = ColaPipeline(RemoteStage(tokenizer, "passages"), model_stage(classifier, Priority.BULK))
        return self._group_commit(pipeline, self.settings.cola, "cola", "job_passages", len)

    def questions(self, tokenizer: Handle, extractor: Handle) -> GroupCommit[Any, Any]:
        """Of questions with their contexts."""
        return qa_group_commit(
            self._short(self.settings.qa),
            tokenizer,
            extractor,
            null_threshold=self.settings.qa.null_threshold,
            priority=Priority.BULK,
            bulk_items=self.settings.jobs.max_rows,
        )

    def _group_commit(
        self, pipeline: Any, task: TaskSettings, name: str, items: str, weigh: Any
    ) -> GroupCommit[Any, Any]:
        metrics = GroupCommitMetrics(name, items)
        most = self._jobs.max_rows
        return group_commit_of(pipeline, self._short(task), weigh, metrics=metrics, bulk_items=most)

    def _short(self, task: TaskSettings) -> GroupCommitSettings:
        return task.group_commit.model_copy(update={"max_items": self._jobs.items_per_call})
