"""The model deployments, one for each task: a checkpoint's model behind a batcher.

Libraries that run models are imported by the replicas that need them, not by the process that builds the graph.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from ray import serve

from deployments.batching.batcher import Batcher
from deployments.batching.cache import RowCache
from deployments.batching.lone_run import LoneRun
from deployments.batching.queue import Priority
from deployments.calls.without_messages import without_messages
from deployments.metrics.model import ModelMetrics
from deployments.metrics.publish import start_publishing
from deployments.reports import Recent, ReplicaReport, replica_id
from deployments.room import Room
from deployments.settings import BatchSettings, ColaSettings, QaSettings, StsSettings
from deployments.tracing.settings import TracingSettings
from deployments.tracing.spans import start_tracing, working_for
from pipelines.checkpoints import golden
from pipelines.checkpoints.resolve import resolve
from pipelines.engines.choice import EngineSettings, replica_engines
from pipelines.engines.memory import return_memory
from pipelines.engines.model_stage import Model, Outcome, Place
from pipelines.errors import CheckpointMismatch
from pipelines.format.manifest import Manifest, verify
from pipelines.text.token_batch import TokenBatch

logger = logging.getLogger("ray.serve")

Load: TypeAlias = Callable[[Path, Manifest, EngineSettings], Model]

MAX_FAILURES_IN_A_ROW = 32  # a broken device fails batches fast, so its replica would get more and more requests
SHOWN = {"name", "kind", "base_model", "revision", "scores", "int8", "untraced", "max_tokens", "threshold"}
PACKAGES = ("ray", "onnxruntime", "torch", "transformers", "sentence-transformers", "tokenizers")


class ModelReplica:
    """One checkpoint's model behind a batcher and a cache of `cache_bytes`. A batch takes `threads` CPU threads.

    `lone` runs items that are alone; None: the model does.
    """

    def __init__(
        self,
        manifest: Manifest,
        model: Model,
        settings: BatchSettings,
        *,
        lone: LoneRun | None = None,
        cache_bytes: int = 0,
        threads: int = 1,
        tracing: TracingSettings | None = None,
    ) -> None:
        self._manifest = manifest
        self._digest = manifest.digest
        self._engine = model.engine
        self._place = Place(replica_id(), model.engine.name, self._digest)
        self._max_batch_s = settings.max_batch_s
        metrics = ModelMetrics(manifest.task, model.engine.name, manifest.name)
        self._batcher = Batcher(
            model.run,
            settings,
            lone=lone,
            slots=model.engine.slots,
            padding_cost=model.engine.padding_cost,
            name=f"{manifest.name} ({model.engine.name})",
            metrics=metrics,
        )
        self._cache = RowCache(cache_bytes, metrics) if cache_bytes else None
        self._recorded = (time.monotonic(), 0.0)
        self._recent = Recent(self._batcher.sums, threads=model.engine.slots)
        self._calls = 0
        self._room = Room(model.engine.slots * threads)
        start_publishing()
        start_tracing(tracing, type(self).__name__)
        return_memory()  # what the golden inputs took, with a tokenizer of their own
        logger.info("%s is loaded: %s, %s", manifest.name, manifest.kind, model.engine.name)
        if manifest.untraced is not None:
            logger.warning("%s has no ONNX graph: it could not be traced: %s", manifest.name, manifest.untraced)

    @without_messages
    async def run(self, batch: TokenBatch, priority: Priority, traceparent: str | None = None) -> Outcome:
        """Return the outcome of the batch's items. Raises CheckpointMismatch for tokens of another checkpoint."""
        if batch.checkpoint.digest != self._digest:
            raise CheckpointMismatch(batch.checkpoint.digest, self._digest)
        self._calls += 1
        with working_for(traceparent):
            if self._cache is None:
                outcome = await self._batcher.submit(batch, priority)
            else:
                outcome = await self._cache.complete(batch, priority, self._batcher.submit)
        return Outcome(outcome.rows, outcome.errors, outcome.work, self._place)

    def checkpoint(self) -> str:
        """Return the digest of the checkpoint that this replica serves."""
        return self._digest

    def info(self) -> dict[str, Any]:
        """For /info: the checkpoint with its scores and limits, the engine, failed batches, and package versions."""
        shown = self._manifest.model_dump(include=SHOWN)
        versions = {name: version(name) for name in PACKAGES}
        served = {
            "digest": self._digest,
            "engine": self._engine.name,
            "failed_batches": self._batcher.failed_batches,
            "versions": versions,
        }
        return shown | served | ({"cache": self._cache.info()} if self._cache else {})

    async def report(self) -> ReplicaReport:
        """For /v1/graph: what `ReplicaReport` says."""
        return self._recent.report(requests=self._calls, waiting=self._batcher.waiting_items)

    def check_health(self) -> None:
        """Raise RuntimeError if a batch runs longer than the settings allow, if items wait as long while none runs, or
        if too many in a row failed.
        """
        if self._batcher.batch_age_s > self._max_batch_s:
            raise RuntimeError(f"a batch has been running for {self._batcher.batch_age_s:.0f} s")
        if self._batcher.stalled_s > self._max_batch_s:
            raise RuntimeError(f"items have been waiting for {self._batcher.stalled_s:.0f} s, and no batch runs")
        if self._batcher.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise RuntimeError(f"the last {self._batcher.failures_in_a_row} batches failed")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For `deployments.autoscaling`: the share of time since the last call in which the model threads were busy,
        the estimated seconds of work in the queue, and the cores as in `Room.report`.
        """
        (then, busy_then), now = self._recorded, time.monotonic()
        self._recorded = (now, self._batcher.seconds_busy)
        busy_s = (self._batcher.seconds_busy - busy_then) / self._engine.slots
        busy = busy_s / max(now - then, 1e-9)
        return {"busy": busy, "waiting_s": self._batcher.waiting_s} | self._room.report()


def load_model(folder: Path, manifest: Manifest, settings: EngineSettings, load: Load) -> tuple[Model, LoneRun | None]:
    """Load a checkpoint's model and check its golden inputs. Return it, and what runs lone items; None: the model does.

    Raises CheckpointDamaged and CheckpointUnsupported.
    """

    def checked(engine: EngineSettings) -> Model:
        model = load(folder, manifest, engine)
        golden.check(folder, manifest, model)
        return model

    engine, lone_engine = replica_engines(folder, manifest, settings)
    model = checked(engine)
    if lone_engine is None:
        return model, None
    return model, LoneRun(lambda: checked(lone_engine).run, f"{manifest.name} ({model.engine.name})")


@serve.deployment
class StsEncoder(ModelReplica):
    """Rows are embeddings of unit length (dimensions,), or scores of pairs from a cross-encoder."""

    def __init__(self, settings: StsSettings, tracing: TracingSettings | None = None) -> None:
        from pipelines.sts import model

        folder = resolve(settings.checkpoint, "sts", settings.outputs)
        manifest = verify(folder, "sts")
        encoder, lone = load_model(folder, manifest, settings.engine, model.load)
        super().__init__(
            manifest,
            encoder,
            settings.batch,
            lone=lone,
            cache_bytes=settings.cache_bytes,
            threads=settings.engine.threads,
            tracing=tracing,
        )


@serve.deployment
class ColaClassifier(ModelReplica):
    """Rows are probabilities of class 1, "acceptable"."""

    def __init__(self, settings: ColaSettings, tracing: TracingSettings | None = None) -> None:
        from pipelines.cola import model

        folder = resolve(settings.checkpoint, "cola", settings.outputs)
        manifest = verify(folder, "cola")
        classifier, lone = load_model(folder, manifest, settings.engine, model.load)
        super().__init__(
            manifest, classifier, settings.batch, lone=lone, threads=settings.engine.threads, tracing=tracing
        )


@serve.deployment
class QaExtractor(ModelReplica):
    """Rows are the null span, the best spans and the sum of all spans of one window (2 + spans_per_window,)."""

    def __init__(self, settings: QaSettings, tracing: TracingSettings | None = None) -> None:
        from pipelines.qa import model

        folder = resolve(settings.checkpoint, "qa")
        manifest = verify(folder, "qa")
        self._windows = manifest.windows_with(settings.windows)  # raises before the model is loaded
        load = partial(model.load, spans_per_window=settings.spans_per_window)
        extractor, lone = load_model(folder, manifest, settings.engine, load)
        super().__init__(
            manifest, extractor, settings.batch, lone=lone, threads=settings.engine.threads, tracing=tracing
        )

    def info(self) -> dict[str, Any]:
        """Add the settings of the windows that contexts are cut into."""
        return super().info() | {"windows": self._windows.model_dump()}
