"""Run a task's pipeline on one checkpoint in this process, for offline runs, golden inputs and tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.checkpoints.tasks.definition import Pipeline
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, in_process_model
from pipelines.format.manifest import Manifest, Task, verify
from pipelines.text.token_batch import TokenBatch


def load_pipeline(folder: Path, task: Task, settings: EngineSettings | None = None) -> Any:
    """Verify a checkpoint and load its pipeline. Raises the errors of `verify` and of the models' `load`."""
    manifest = verify(folder, task)
    return pipeline_of(folder, manifest, load_model(folder, manifest, settings or EngineSettings()))


def load_model(folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
    """Load the model of a verified checkpoint, with the default limits of its task."""
    return TASKS[manifest.task].load(folder, manifest, settings)


def pipeline_of(folder: Path, manifest: Manifest, model: Model) -> Pipeline:
    """The pipeline of a loaded model."""
    return TASKS[manifest.task].pipeline(folder, manifest, in_process_model(model))


def token_batches(folder: Path, manifest: Manifest, items: Sequence[Any]) -> list[TokenBatch]:
    """Tokenize a task's items for its model; each item that the model runs is a separate batch."""
    tokens = TASKS[manifest.task].tokenize(folder, manifest, items)
    return [TokenBatch.take([(tokens, item)]) for item in range(len(tokens))]
