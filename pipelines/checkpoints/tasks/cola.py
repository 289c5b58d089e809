"""Grammatical acceptability: items are passages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from pipelines.checkpoints.tasks.definition import Examples, Pipeline, Scores, TaskDefinition
from pipelines.cola import model
from pipelines.cola.data import Judgement, read_cola
from pipelines.cola.pipeline import Acceptability, ColaPipeline
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, ModelStage, in_process
from pipelines.format.manifest import KIND_SPECS, Manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.token_batch import TokenBatch


class Cola(TaskDefinition[Judgement]):
    """Outputs are probabilities of "acceptable"."""

    name = "cola"
    golden = (("The children are playing in the garden.",), ("The children is play garden in the.",))
    metric = "Matthews"

    @override
    def load(self, folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
        return model.load(folder, manifest, settings)

    @override
    def pipeline(self, folder: Path, manifest: Manifest, run: ModelStage) -> Pipeline:
        return ColaPipeline(in_process(TextTokenizer.load(folder, manifest).passages), run)

    @override
    def tokenize(self, folder: Path, manifest: Manifest, items: Sequence[str]) -> TokenBatch:
        return TextTokenizer.load(folder, manifest).passages(items)

    @override
    def item(self, text: str, other: str) -> str:
        return text

    @override
    def item_of(self, texts: tuple[str, ...]) -> str:
        return texts[0]

    @override
    def answer(self, result: Acceptability) -> float:
        return result.probability

    @override
    def scores(self, result: Acceptability) -> Scores:
        return (result.probability,)

    @override
    def output(self, result: Acceptability) -> float:
        return result.probability

    @override
    def figures(self, outputs: Sequence[Any], expected: Sequence[Any], threshold: float | None) -> dict[str, float]:
        from pipelines.cola.metrics import matthews  # a library that serving does without

        predicted = np.asarray(outputs) >= (KIND_SPECS["classifier"].threshold if threshold is None else threshold)
        truth = np.asarray(expected)
        return {"matthews": matthews(predicted, truth), "accuracy": float((predicted == truth).mean())}

    @override
    def rows(self, path: Path) -> list[Judgement]:
        return read_cola(path)

    @override
    def examples(self, name: str, rows: Sequence[Judgement]) -> Examples:
        return Examples(name, self.name, [row.sentence for row in rows], [row.acceptable for row in rows])
