"""How to train for STS: the models, heads, settings and figures."""

from collections.abc import Sequence

from pipelines.sts.data import KLUE_DEV, KLUE_TRAIN, ScoredPair, normal_form, scored_pair
from pipelines.text.rows import read_rows
from pipelines.training.recipe import Column, Recipe
from pipelines.training.sts.embedding_learner import EmbeddingLearner
from pipelines.training.sts.learner import PairLearner, StsSettings, sort_key

MODELS = ("klue/bert-base", "snunlp/KR-BERT-char16424", "klue/roberta-base")


def _read(source: str, columns: Sequence[str], split: str) -> list[ScoredPair]:
    return read_rows(source, columns, scored_pair, split)


def _without_dev_rows(train: list[ScoredPair], dev: list[ScoredPair]) -> list[ScoredPair]:
    measured = {_pair_key(pair) for pair in dev}
    return [pair for pair in train if _pair_key(pair) not in measured]


def _pair_key(pair: ScoredPair) -> frozenset[str]:
    return frozenset((normal_form(pair.sentence1), normal_form(pair.sentence2)))


RECIPE = Recipe(
    task="sts",
    models=MODELS,
    heads={
        "layers": PairLearner.layers,
        "classification": PairLearner.classification,
        "sentence-transformer": EmbeddingLearner.load,
    },
    options=StsSettings,
    figures={"f1": "F1 of a score of 3 or more", "pearson": "Pearson correlation", "spearman": "Spearman correlation"},
    sort_key=sort_key,
    train=KLUE_TRAIN,
    dev=KLUE_DEV,
    columns={
        "first": Column("sentence1", "column of a sentence: its name, outer.inner if it is nested, or number from 1"),
        "second": Column("sentence2", "column of the other sentence, likewise"),
        "score": Column(
            "labels.real-label|label|score", "column of the score, 0 to 5; the first of these that a row has"
        ),
    },
    read=_read,
    without_dev_rows=_without_dev_rows,
)
