"""The ingress deployment: handles of the graph, and one group commit per task. Routes are in `deployments.api`."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError

from deployments.api.app import make_api
from deployments.api.services import Submits
from deployments.batching.queue import Lane
from deployments.calls.group_commit import GroupCommit
from deployments.calls.one_checkpoint import OneCheckpoint
from deployments.calls.remote import RemoteStage, RemoteStream
from deployments.calls.remote_pipelines import Handle, group_commit_of, in_lane, qa_group_commit
from deployments.settings import Settings
from pipelines.chat.request import ChatRequest, Reply
from pipelines.cola.pipeline import Acceptability, ColaPipeline
from pipelines.errors import MunjangError
from pipelines.qa.pipeline import Request
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Pair, Similarity, StsPipeline

logger = logging.getLogger("ray.serve")

STATUS_CACHE_S = 1.0
FAST_FLAGS = ("RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_SERVE_ENABLE_HA_PROXY")


@serve.deployment
@serve.ingress()
class Ingress:
    """Everything that routes need: one group commit per task and lane, and what is known of the graph."""

    def __init__(
        self,
        settings: Settings,
        sts: tuple[Handle, Handle],
        cola: tuple[Handle, Handle],
        qa: tuple[Handle, Handle],
        chat: Handle,
    ) -> None:
        """Each task's handles are its tokenizer's and its model's; the chat stands on those of others."""
        warn_of_missing_flags(os.environ)
        self.settings = settings
        self._tells = {"sts": sts[1], "cola": cola[1], "qa": qa[1], "chat": chat}
        self._status: tuple[float, dict[str, bool]] = (-STATUS_CACHE_S, {})
        single_pairs = self._sts_group_commit(*sts, Lane.INTERACTIVE)
        self.sts: Submits[Pair, Similarity] = single_pairs
        files = self._sts_group_commit(*sts, Lane.BULK, gives_way_to=single_pairs)
        self.sts_files: Submits[Pair, Similarity] = OneCheckpoint(files)
        self.cola: Submits[str, Acceptability] = self._cola_group_commit(*cola)
        self.qa: Submits[Request, Answer] = qa_group_commit(
            settings.qa.group_commit, *qa, null_threshold=settings.qa.null_threshold
        )
        asks_nobody = settings.chat.provider is None  # who may have answered already, and sends its bill to the caller
        self._chat = RemoteStage(chat, "reply", pure=asks_nobody)
        self._chat_stream = RemoteStream(chat, "stream", pure=asks_nobody)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve's hook: the app, built on the replica."""
        return make_api(self)

    def _sts_group_commit(
        self, tokenizer: Handle, encoder: Handle, lane: Lane, gives_way_to: GroupCommit[Pair, Similarity] | None = None
    ) -> GroupCommit[Pair, Similarity]:
        settings = self.settings.sts
        tokenize = RemoteStage(tokenizer, "sentence_pairs")
        pipeline = StsPipeline(tokenize, in_lane(encoder, lane), threshold=settings.threshold)
        waiting = settings.max_pairs if lane is Lane.BULK else settings.group_commit.max_waiting
        return group_commit_of(
            pipeline, settings.group_commit, lambda pair: len(pair[0]) + len(pair[1]), waiting, gives_way_to
        )

    def _cola_group_commit(self, tokenizer: Handle, classifier: Handle) -> GroupCommit[str, Acceptability]:
        pipeline = ColaPipeline(RemoteStage(tokenizer, "passages"), in_lane(classifier, Lane.INTERACTIVE))
        group_commit = self.settings.cola.group_commit
        return group_commit_of(pipeline, group_commit, len, group_commit.max_waiting)

    async def chat(self, request: ChatRequest) -> Reply:
        """A whole answer. Raises its error."""
        return whole_or_raised(await self._chat(request))

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """An answer in pieces, then whole. Raises its error."""
        async with aclosing(self._chat_stream(request)) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, str) else whole_or_raised(piece)

    async def describe(self) -> dict[str, Any]:
        """What each task's model deployment says of itself."""
        infos = await asyncio.gather(*(RemoteStage(handle, "info")() for handle in self._tells.values()))
        tasks = dict(zip(self._tells, infos, strict=True))
        if self.settings.sts.threshold is not None:
            tasks["sts"] = tasks["sts"] | {"threshold": self.settings.sts.threshold}
        if self.settings.qa.null_threshold is not None:
            tasks["qa"] = tasks["qa"] | {"threshold": self.settings.qa.null_threshold}
        return tasks

    async def readiness(self) -> dict[str, bool]:
        """By deployment: has it a running replica? Asked of the controller, at most once a second.

        Requests do without the controller; while it is away, what it said last stands.
        """
        asked_s, known = self._status
        if time.monotonic() - asked_s >= STATUS_CACHE_S:
            try:
                known = await to_thread.run_sync(_running_deployments, serve.get_replica_context().app_name)
            except (RayError, KeyError) as error:
                logger.warning("the controller does not answer (%s)", type(error).__name__)
            self._status = (time.monotonic(), known)
        return known


def whole_or_raised(reply: Reply | MunjangError) -> Reply:
    """The chat deployment returns its errors; see there."""
    if isinstance(reply, MunjangError):
        raise reply
    return reply


def warn_of_missing_flags(environment: Mapping[str, str]) -> None:
    """Say once what a server pays that was started without the flags of deploy/serve.env."""
    missing = [flag for flag in FAST_FLAGS if environment.get(flag) != "1"]
    if missing:
        logger.warning(
            "started without %s (deploy/serve.env): measured on 2 cores without both, a request alone takes 2.8 times "
            "as long, and 64 callers get a fifth of the throughput",
            " and ".join(missing),
        )


def _running_deployments(app_name: str) -> dict[str, bool]:
    application = serve.status().applications[app_name]
    return {
        name: deployment.replica_states.get("RUNNING", 0) > 0 for name, deployment in application.deployments.items()
    }
