"""How to train for CoLA: the models, settings and figures."""

from collections.abc import Sequence

from pydantic import Field

from pipelines.cola.data import COLA_DEV, COLA_TRAIN, Judgement, judgement, without_sentences
from pipelines.text.rows import read_rows
from pipelines.training.base import Base
from pipelines.training.cola.learner import ColaLearner
from pipelines.training.learner import Figures
from pipelines.training.recipe import Column, Recipe
from pipelines.training.settings import Frozen

MODELS = (
    "google-bert/bert-base-uncased",
    "distilbert/distilbert-base-uncased",
    "distilbert/distilroberta-base",
    "FacebookAI/roberta-base",
    "albert/albert-base-v2",
)


class ColaSettings(Frozen):
    """The settings that only CoLA has."""

    max_tokens: int = Field(128, ge=1, description="Inputs are cut at this length, in training and in serving.")


def _read(source: str, columns: Sequence[str], split: str) -> list[Judgement]:
    return read_rows(source, columns, judgement, split)


def _load(base: Base, settings: ColaSettings) -> ColaLearner:
    return ColaLearner.load(base, settings.max_tokens)


def _without_dev_rows(train: list[Judgement], dev: list[Judgement]) -> list[Judgement]:
    return without_sentences(train, {row.sentence for row in dev})


def _collapsed(model: str, figures: Figures) -> str | None:
    if 0 < figures["called_acceptable"] < 1:
        return None
    return (
        f"{model} predicts the same class for every sentence: it has collapsed. Its learning rate is too high in the "
        f"first steps; raise --warmup-ratio, or lower the rate with --model-learning-rate {model}=1e-5"
    )


RECIPE = Recipe(
    task="cola",
    models=MODELS,
    heads={"classification": _load},
    options=ColaSettings,
    figures={"matthews": "Matthews correlation"},
    sort_key=ColaLearner.sort_key,
    train=COLA_TRAIN,
    dev=COLA_DEV,
    columns={
        "text": Column("4", "name or number (from 1) of the column with the sentence; the default is that of CoLA"),
        "label": Column("2", "name or number of the column with the label: 1 for acceptable, 0 for not"),
    },
    read=_read,
    without_dev_rows=_without_dev_rows,
    remark=_collapsed,
)
