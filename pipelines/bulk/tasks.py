"""What scoring the rows of a task takes and gives. Fields have the names that the routes give them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from pipelines.checkpoints.tasks.definition import Pipeline
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.model_stage import ModelStage, in_process
from pipelines.errors import CheckpointUnsupported, MalformedInput
from pipelines.format.manifest import Manifest, Role, Task
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts.pipeline import Embedding, EmbeddingPipeline, Similarity
from pipelines.text.normalization import is_unicode
from pipelines.text.visible import HAS_VISIBLE

Cells = Mapping[str, Any]
MakePipeline = Callable[[Path, Manifest, ModelStage, Role], Pipeline]


@dataclass(frozen=True)
class BulkTask:
    """A task of the command.

    checkpoint  the task of its checkpoints
    fields      the fields of a row that are its texts, and for each its column; `one|other` is the first that a row has
    results     the fields that scoring adds, and their types
    item        makes an item of the pipeline from the texts of a row
    result      makes the added fields from a result of the pipeline
    pipeline    loads the tokenizer of a checkpoint, and makes the pipeline of it and a model stage
    blank       the added fields of a row with a blank text; None: such a row is refused
    """

    checkpoint: Task
    fields: Mapping[str, str]
    results: Mapping[str, pyarrow.DataType]
    item: Callable[[tuple[str, ...]], Any]
    result: Callable[[Any], dict[str, Any]]
    pipeline: MakePipeline
    blank: Mapping[str, Any] | None = None

    def needs_model(self, texts: tuple[str, ...]) -> bool:
        """Whether the pipeline has to score these texts, because `blank` is not their result."""
        return self.blank is None or all(text.strip() for text in texts)


def _pipeline_of(folder: Path, manifest: Manifest, run: ModelStage, _: Role) -> Pipeline:
    return TASKS[manifest.task].pipeline(folder, manifest, run)


def _embedding_pipeline(folder: Path, manifest: Manifest, run: ModelStage, role: Role) -> Pipeline:
    if manifest.kind != "bi-encoder":
        raise CheckpointUnsupported(str(folder), f"is a {manifest.kind}; only a bi-encoder makes embeddings")
    return EmbeddingPipeline(in_process(TextTokenizer.load(folder, manifest).passages), run, role=role)


def _similarity(result: Similarity) -> dict[str, Any]:
    return {"score": result.score, "pred": int(result.similar)}


def _embedding(result: Embedding) -> dict[str, Any]:
    return {"embedding": result.vector.tolist()}


BULK_TASKS = {
    "sts": BulkTask(
        checkpoint="sts",
        fields={"sentence1": "sentence1|sentence_1", "sentence2": "sentence2|sentence_2"},
        results={"score": pyarrow.float32(), "pred": pyarrow.int8()},
        item=TASKS["sts"].item_of,
        result=_similarity,
        pipeline=_pipeline_of,
    ),
    "cola": BulkTask(
        checkpoint="cola",
        fields={"passage": "passage"},
        results={"prob": pyarrow.float32()},
        item=TASKS["cola"].item_of,
        result=lambda result: {"prob": result.probability},
        pipeline=_pipeline_of,
    ),
    "qa": BulkTask(
        checkpoint="qa",
        fields={"question": "question", "context": "context"},
        results={"answer": pyarrow.string()},
        item=TASKS["qa"].item_of,
        result=lambda result: {"answer": result.text},
        pipeline=_pipeline_of,
        blank={"answer": ""},
    ),
    "embeddings": BulkTask(
        checkpoint="sts",
        fields={"text": "text"},
        results={"embedding": pyarrow.list_(pyarrow.float32())},
        item=lambda texts: texts[0],
        result=_embedding,
        pipeline=_embedding_pipeline,
    ),
}


def texts_of(task: BulkTask, cells: Cells, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The texts of a row. `columns` are those of the fields.

    Raises MalformedInput, whose message repeats nothing of the row, if a text is missing, is no text, or is one that
    the routes refuse.
    """
    texts = tuple(_text(field, cells, columns[field]) for field in task.fields)
    for field, text in zip(task.fields, texts, strict=True):
        if task.blank is None and not HAS_VISIBLE.search(text):
            raise MalformedInput(f"{field} has no visible character")
    return texts


def _text(field: str, cells: Cells, column: str) -> str:
    text = next((cells[name] for name in column.split("|") if cells.get(name) is not None), None)
    if not isinstance(text, str):
        raise MalformedInput(f"{field} is missing" if text is None else f"{field} is no text")
    if "\x00" in text:  # tokenizers drop it
        raise MalformedInput(f"{field} contains U+0000")
    if not is_unicode(text):
        raise MalformedInput(f"{field} contains half of a surrogate pair")
    return text
