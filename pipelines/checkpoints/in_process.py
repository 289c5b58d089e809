"""A task's whole pipeline in this process, on one checkpoint: for offline runs, golden inputs and parity tests."""

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
    """The verified checkpoint's pipeline. Raises as `verify` and the models' `load` do."""
    manifest = verify(folder, task)
    return pipeline_of(folder, manifest, load_model(folder, manifest, settings or EngineSettings()))


def load_model(folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
    """The model of a verified checkpoint, with the default limits of its task."""
    loads: dict[Task, Callable[[Path, Manifest, EngineSettings], Model]] = {
        "sts": sts_model.load,
        "cola": cola_model.load,
        "qa": qa_model.load,
    }
    return loads[manifest.task](folder, manifest, settings)


def pipeline_of(folder: Path, manifest: Manifest, model: Model) -> Pipeline:
    """The pipeline of a model that is loaded already."""
    run = in_process_model(model)
    if manifest.task == "qa":
        return QaPipeline(in_process(WindowTokenizer.load(folder, manifest).windows), run)
    text = TextTokenizer.load(folder, manifest)
    if manifest.task == "cola":
        return ColaPipeline(in_process(text.passages), run)
    return StsPipeline(in_process(text.sentence_pairs), run)


def token_batches(folder: Path, manifest: Manifest, inputs: Sequence[Any]) -> list[TokenBatch]:
    """The task's inputs as the model gets them, each item in a batch of its own."""
    if manifest.task == "qa":
        tokens = WindowTokenizer.load(folder, manifest).windows(inputs).tokens
    elif manifest.task == "cola":
        tokens = TextTokenizer.load(folder, manifest).passages(inputs)
    else:
        tokens = TextTokenizer.load(folder, manifest).sentence_pairs(inputs).tokens
    return [TokenBatch.take([(tokens, item)]) for item in range(len(tokens))]
