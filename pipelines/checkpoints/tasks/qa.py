"""Extractive question answering: items are pairs of a question and a context."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from pipelines.checkpoints.tasks.definition import Examples, Pipeline, Scores, TaskDefinition
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, ModelStage, in_process
from pipelines.format.manifest import Manifest
from pipelines.qa import model
from pipelines.qa.data import Example, all_examples, read_squad
from pipelines.qa.pipeline import QaPipeline, Request
from pipelines.qa.spans import Answer
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.text.token_batch import TokenBatch


class Qa(TaskDefinition[Example]):
    """Outputs are the texts of answers, "" if there is none."""

    name = "qa"
    golden = (
        ("도서관은 몇 시에 문을 여나요?", "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."),
        ("Where is the museum?", "The museum is in Busan. It opened in 1998 and shows old ships."),
    )
    metric = "F1"

    @override
    def load(self, folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
        return model.load(folder, manifest, settings)

    @override
    def pipeline(self, folder: Path, manifest: Manifest, run: ModelStage) -> Pipeline:
        return QaPipeline(in_process(WindowTokenizer.load(folder, manifest).windows), run)

    @override
    def tokenize(self, folder: Path, manifest: Manifest, items: Sequence[Request]) -> TokenBatch:
        return WindowTokenizer.load(folder, manifest).windows(items).tokens

    @override
    def item(self, text: str, other: str) -> Request:
        return other, text

    @override
    def answer(self, result: Answer) -> str:
        return result.text

    @override
    def scores(self, result: Answer) -> Scores:
        return result.score, result.null_score

    @override
    def output(self, result: Answer) -> str:
        return result.text

    @override
    def figures(self, outputs: Sequence[Any], expected: Sequence[Any], threshold: float | None) -> dict[str, float]:
        from pipelines.qa.metrics import score_any

        result = score_any(outputs, expected)
        return {"exact_match": result.exact_match, "f1": result.f1}

    @override
    def rows(self, path: Path) -> list[Example]:
        return all_examples(read_squad(path))

    @override
    def examples(self, name: str, rows: Sequence[Example]) -> Examples:
        return Examples(name, self.name, [(row.question, row.context) for row in rows], [row.accepted for row in rows])
