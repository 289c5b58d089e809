"""The ingress deployment: handles of the other deployments, and group commits. Its routes are in `deployments.api`."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from fastapi import FastAPI
from ray import serve

from deployments.api.app import make_api
from deployments.api.catalogue import Catalogue
from deployments.api.request_count import RequestCount
from deployments.api.services import Input, Jobs, Submits, SubmitsEach
from deployments.calls.remote import RemoteStage, RemoteStream
from deployments.calls.remote_pipelines import Handle
from deployments.calls.task_group_commits import ColaGroupCommits, QaGroupCommits, StsGroupCommits
from deployments.jobs.place import ledger_of, storage_of
from deployments.live_graph import DeploymentReport, LiveGraph
from deployments.metrics.publish import start_publishing
from deployments.readiness import Readiness, deployment_states
from deployments.reports import CallReports, ReplicaReport
from deployments.settings import Settings
from deployments.tracing.spans import start_tracing
from pipelines.chat.request import ChatRequest, Reply
from pipelines.cola.pipeline import Acceptability
from pipelines.errors import MunjangError
from pipelines.format.manifest import Role, Task
from pipelines.format.token_ids import Token
from pipelines.qa.pipeline import Request
from pipelines.qa.reading import Findings, Reading
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, Pair, Similarity

logger = logging.getLogger("ray.serve")

CALLS_PER_MODEL = 2  # calls in flight that keep one model replica busy, so each takes twice the replica's time
FAST_FLAGS = ("RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_SERVE_ENABLE_HA_PROXY")


@serve.deployment
@serve.ingress()
class Ingress:
    """All that the routes need: one group commit per task and priority, and the state of the graph."""

    def __init__(
        self,
        settings: Settings,
        sts: tuple[Handle, Handle],
        cola: tuple[Handle, Handle],
        qa: tuple[Handle, Handle],
        chat: Handle,
        job_runner: Handle,
    ) -> None:
        """`sts`, `cola` and `qa` are the handles of each task's tokenizer and model."""
        warn_of_missing_flags(os.environ)
        self.settings = settings
        self._info_handles = {"sts": sts[1], "cola": cola[1], "qa": qa[1], "chat": chat}
        self.catalogue = Catalogue(self.describe)
        self._tokenizers = {"sts": sts[0], "cola": cola[0], "qa": qa[0]}
        self._readiness = Readiness(deployment_states)
        self._graph = LiveGraph([*sts, *cola, *qa, chat, job_runner])
        self.requests = RequestCount()
        self._chats = 0
        of_sts = StsGroupCommits(settings.sts, *sts)
        of_cola = ColaGroupCommits(settings.cola, *cola)
        of_qa = QaGroupCommits(settings.qa, *qa)
        self.sts: Submits[Pair, Similarity] = of_sts.pairs
        self.sts_files: Submits[Pair, Similarity] = of_sts.files
        self.pair_lists: SubmitsEach[Pair, Similarity] = of_sts.pair_lists
        self.embeddings: SubmitsEach[Input, Embedding] = of_sts.inputs
        self.cola: Submits[str, Acceptability] = of_cola.passages
        self.passage_lists: SubmitsEach[str, Acceptability] = of_cola.passage_lists
        self.qa: Submits[Request, Answer] = of_qa.questions
        self.readings: SubmitsEach[Reading, Findings] = of_qa.readings
        self._waiting = {"StsEncoder": of_sts.waiting, "ColaClassifier": of_cola.waiting, "QaExtractor": of_qa.waiting}
        self._calls = CallReports(self._waiting)
        repeatable = settings.chat.provider is None  # a provider may already have charged the caller for a lost call
        self._chat = RemoteStage(chat, "reply", repeatable=repeatable, traced=True)
        self._chat_stream = RemoteStream(chat, "stream", repeatable=repeatable, traced=True)
        start_publishing()
        start_tracing(settings.tracing, "Ingress")
        self.jobs = Jobs(settings.jobs, ledger_of(settings.jobs), storage_of(settings.jobs))
        self._wake_jobs = RemoteStage(job_runner, "wake")

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the app on the replica. Serve calls this method."""
        return make_api(self)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For `deployments.autoscaling`: by model, the seconds of one replica's time that the waiting items take."""
        return {
            model: sum(one.waiting_s for one in waiting) / CALLS_PER_MODEL for model, waiting in self._waiting.items()
        }

    async def tokens(self, task: Task, texts: Sequence[str], role: Role, *, whole_input: bool) -> list[list[Token]]:
        """The tokens of texts, as the tokenizer of a task's checkpoint makes them."""
        found: list[list[Token]] = await RemoteStage(self._tokenizers[task], "tokens")(texts, role, whole_input)
        return found

    async def decode(self, task: Task, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """The texts of token ids. Raises InvalidInput for ids outside of the vocabulary."""
        texts: list[str] = await RemoteStage(self._tokenizers[task], "decode")(ids, skip_special_tokens)
        return texts

    async def chat(self, request: ChatRequest) -> Reply:
        """Return the whole answer, or raise its error."""
        self._chats += 1
        return reply_or_raise(await self._chat(request))

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """Yield an answer in pieces and then whole, or raise its error."""
        self._chats += 1
        async with aclosing(self._chat_stream(request)) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, str) else reply_or_raise(piece)

    async def wake_jobs(self) -> None:
        """Tell the job runner that there is work. If it can't be told, it looks by itself."""
        with suppress(MunjangError):
            await self._wake_jobs()

    async def describe(self) -> dict[str, Any]:
        """Collect what each task's deployment reports for /info. It leaves out those that the question would wake."""
        states = await self._readiness.states()
        awake = {
            task: handle
            for task, handle in self._info_handles.items()
            if states.get(handle.deployment_name) != "asleep"
        }
        infos = await asyncio.gather(*(RemoteStage(handle, "info")() for handle in awake.values()))
        tasks: dict[str, Any] = dict(zip(awake, infos, strict=True))
        thresholds = {"sts": self.settings.sts.threshold, "qa": self.settings.qa.null_threshold}
        for task, threshold in thresholds.items():
            if threshold is not None and task in tasks:
                tasks[task] = tasks[task] | {"threshold": threshold}
        return tasks

    async def graph(self) -> list[DeploymentReport]:
        """All deployments with the reports of their replicas, this one among them."""
        return await self._graph.deployments()

    async def report(self) -> ReplicaReport:
        """For /v1/graph: what `ReplicaReport` says."""
        return self._calls.report(requests=self.requests.count, calls={"PersonaChat": self._chats})

    async def readiness(self) -> dict[str, bool]:
        """By deployment, whether it has a running replica or needs none, as `Readiness` knows it."""
        return {name: state != "missing" for name, state in (await self._readiness.states()).items()}


def reply_or_raise(reply: Reply | MunjangError) -> Reply:
    """Return the chat deployment's reply. Raises the error that it returned in place of a reply."""
    if isinstance(reply, MunjangError):
        raise reply
    return reply


def warn_of_missing_flags(environment: Mapping[str, str]) -> None:
    """Log how much slower a server is without the flags of deploy/serve.env."""
    missing = [flag for flag in FAST_FLAGS if environment.get(flag) != "1"]
    if missing:
        logger.warning(
            "started without %s (see deploy/serve.env): without both, measured on 2 cores, a single request takes 2.8 "
            "times as long, and 64 callers get a fifth of the throughput",
            " and ".join(missing),
        )
