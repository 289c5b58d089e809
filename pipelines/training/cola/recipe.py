"""How CoLA trains: the original's five models, batches, rates and epochs, and a warm-up."""

from collections.abc import Sequence

from pydantic import Field

from pipelines.checkpoints.quality import Examples
from pipelines.cola.data import COLA_DEV, COLA_TRAIN, Judgement, judgement, without
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
    """What is CoLA's own."""

    max_tokens: int = Field(128, ge=1, description="Longer inputs are cut; so they are when served, too.")


def _read(source: str, columns: Sequence[str], split: str) -> list[Judgement]:
    return read_rows(source, columns, judgement, split)


def _load(base: Base, settings: ColaSettings) -> ColaLearner:
    return ColaLearner.load(base, settings.max_tokens)


def _apart(train: list[Judgement], dev: list[Judgement]) -> list[Judgement]:
    return without(train, {row.sentence for row in dev})


def _collapsed(model: str, figures: Figures) -> str | None:
    if 0 < figures["called_acceptable"] < 1:
        return None
    return (
        f"{model} calls every sentence the same: it has collapsed. The learning rate is too high for it so early; "
        f"raise --warmup-ratio, or lower its own with --model-learning-rate {model}=1e-5"
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
        "text": Column("4", "name, or number from 1; CoLA's where none is given"),
        "label": Column("2", "of 0 and 1, 1 is acceptable"),
    },
    read=_read,
    examples=Examples.of_judgements,
    apart=_apart,
    remark=_collapsed,
)
