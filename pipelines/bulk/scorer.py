"""Score items with one checkpoint, as many at once as its engine has slots."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from pipelines.bulk.batches import ON_CPU, ON_GPU, BatchedModel, Sizes
from pipelines.bulk.tasks import BulkTask
from pipelines.checkpoints import golden
from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.tasks.definition import Pipeline
from pipelines.engines.choice import EngineSettings, choose
from pipelines.format.manifest import Manifest, Role


class Scorer:
    """Pipelines of one model. Each has a tokenizer of its own, which only one thread may use at a time."""

    def __init__(self, engine: str, sizes: Sizes, pipelines: Sequence[Pipeline]) -> None:
        self.engine = engine
        self.rows_at_once = sizes.rows
        self._free = SimpleQueue[Pipeline]()
        for pipeline in pipelines:
            self._free.put(pipeline)

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, task: BulkTask, settings: EngineSettings, role: Role) -> Self:
        """Load a verified checkpoint, and check its golden answers. Raises CheckpointError."""
        sizes = ON_CPU if choose(folder, manifest, settings).device == "cpu" else ON_GPU
        model = load_model(folder, manifest, settings)
        golden.check(folder, manifest, model)
        stages = [BatchedModel(model.run, sizes.tokens) for _ in range(model.engine.slots)]
        return cls(model.engine.name, sizes, [task.pipeline(folder, manifest, stage, role) for stage in stages])

    def results(self, items: Sequence[Any]) -> list[Any]:
        """One result or error for each item, in order. Waits while all pipelines are in use. Raises StageFailed."""
        pipeline = self._free.get()
        try:
            return asyncio.run(_run(pipeline, items))
        finally:
            self._free.put(pipeline)


async def _run(pipeline: Pipeline, items: Sequence[Any]) -> list[Any]:
    return await pipeline(items)
