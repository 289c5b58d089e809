"""Sentence similarity: items are pairs of sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from pipelines.checkpoints.tasks.definition import Examples, Pipeline, Scores, TaskDefinition
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, ModelStage, in_process
from pipelines.format.manifest import Manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts import model
from pipelines.sts.data import PARAPHRASE_FROM, ScoredPair, read_scored_pairs
from pipelines.sts.pipeline import Pair, Similarity, StsPipeline
from pipelines.text.token_batch import TokenBatch


class Sts(TaskDefinition[ScoredPair]):
    """Outputs are (score, whether it reaches the threshold)."""

    name = "sts"
    golden = (
        ("오늘은 비가 많이 옵니다.", "오늘 비가 많이 내린다."),
        ("오늘은 비가 많이 옵니다.", "기차는 여섯 시에 떠납니다."),
        ("회의는 세 시에 시작해요.", "회의 시작 시간은 세 시입니다."),
    )
    metric = "Pearson"

    @override
    def load(self, folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
        return model.load(folder, manifest, settings)

    @override
    def pipeline(self, folder: Path, manifest: Manifest, run: ModelStage) -> Pipeline:
        return StsPipeline(in_process(TextTokenizer.load(folder, manifest).sentence_pairs), run)

    @override
    def tokenize(self, folder: Path, manifest: Manifest, items: Sequence[Pair]) -> TokenBatch:
        return TextTokenizer.load(folder, manifest).sentence_pairs(items).tokens

    @override
    def item(self, text: str, other: str) -> Pair:
        return text, other

    @override
    def probes(self, texts: Sequence[str], others: Sequence[str]) -> list[Any]:
        """Also a pair whose second text is the first of `texts`."""
        return [*super().probes(texts, others), (others[0], texts[0])]

    @override
    def answer(self, result: Similarity) -> float:
        return result.score

    @override
    def scores(self, result: Similarity) -> Scores:
        return (result.score,)

    @override
    def output(self, result: Similarity) -> tuple[float, bool]:
        return result.score, result.similar

    @override
    def figures(self, outputs: Sequence[Any], expected: Sequence[Any], threshold: float | None) -> dict[str, float]:
        from pipelines.sts.metrics import f1_at, pearson, spearman  # libraries that serving does without

        scores, passed = zip(*outputs, strict=True)
        same = [score >= PARAPHRASE_FROM for score in expected]
        return {
            "pearson": pearson(scores, expected),
            "spearman": spearman(scores, expected),
            "f1": f1_at(np.array(passed, dtype=float), same, 0.5),
        }

    @override
    def rows(self, path: Path) -> list[ScoredPair]:
        return read_scored_pairs(path)

    @override
    def examples(self, name: str, rows: Sequence[ScoredPair]) -> Examples:
        return Examples(name, self.name, [(row.sentence1, row.sentence2) for row in rows], [row.score for row in rows])
