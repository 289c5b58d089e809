"""Run a task's pipeline on one checkpoint in this process, for offline runs, golden inputs and tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipelines.cola import model as cola_model
from pipelines.cola.pipeline import ColaPipeline
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, in_process, in_process_model
from pipelines.format.manifest import Manifest, Task, verify
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa import model as qa_model
from pipelines.qa.pipeline import QaPipeline
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.sts import model as sts_model
from pipelines.sts.pipeline import StsPipeline
from pipelines.text.token_batch import TokenBatch

Pipeline = StsPipeline | ColaPipeline | QaPipeline


def load_pipeline(folder: Path, task: Task, settings: EngineSettings | None = None) -> Any:
    """Verify a checkpoint and load its pipeline. Raises the errors of `verify` and of the models' `load`."""
    manifest = verify(folder, task)
    return pipeline_of(folder, manifest, load_model(folder, manifest, settings or EngineSettings()))


def load_model(folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
    """Load the model of a verified checkpoint, with the default limits of its task."""
    loads: dict[Task, Callable[[Path, Manifest, EngineSettings], Model]] = {
        "sts": sts_model.load,
        "cola": cola_model.load,
        "qa": qa_model.load,
    }
    return loads[manifest.task](folder, manifest, settings)


def pipeline_of(folder: Path, manifest: Manifest, model: Model) -> Pipeline:
    """The pipeline of a loaded model."""
    run = in_process_model(model)
    if manifest.task == "qa":
        return QaPipeline(in_process(WindowTokenizer.load(folder, manifest).windows), run)
    text = TextTokenizer.load(folder, manifest)
    if manifest.task == "cola":
        return ColaPipeline(in_process(text.passages), run)
    return StsPipeline(in_process(text.sentence_pairs), run)


def token_batches(folder: Path, manifest: Manifest, inputs: Sequence[Any]) -> list[TokenBatch]:
    """Tokenize a task's inputs for its model; each item is a separate batch."""
    if manifest.task == "qa":
        tokens = WindowTokenizer.load(folder, manifest).windows(inputs).tokens
    elif manifest.task == "cola":
        tokens = TextTokenizer.load(folder, manifest).passages(inputs)
    else:
        tokens = TextTokenizer.load(folder, manifest).sentence_pairs(inputs).tokens
    return [TokenBatch.take([(tokens, item)]) for item in range(len(tokens))]
