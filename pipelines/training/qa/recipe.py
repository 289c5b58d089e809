"""How to train for QA: the models, settings and figures."""

from collections.abc import Sequence

from pydantic import Field

from pipelines.format.windows import WindowSettings
from pipelines.qa.data import KORQUAD, SOURCE, TRAIN_ARTICLES, Example, all_examples, read_articles, without_contexts_of
from pipelines.training.qa.learner import QaLearner
from pipelines.training.recipe import Recipe
from pipelines.training.settings import TrainingSettings

MODELS = ("beomi/kcbert-base",)


class QaTrainingSettings(TrainingSettings):
    """The training settings with the defaults of QA; a batch consists of windows."""

    epochs: int = Field(
        3, ge=1, description="Passes over the training rows; the one with the lowest dev loss is exported."
    )
    batch_size: int = Field(
        32, ge=1, description="Windows of one step, over all workers together; a question has one or more windows."
    )


def _read(source: str, _columns: Sequence[str], split: str) -> list[Example]:
    return all_examples(read_articles(source, split))


RECIPE: Recipe[Example] = Recipe(
    task="qa",
    models=MODELS,
    heads={"extractor": QaLearner.load},
    options=WindowSettings,
    training=QaTrainingSettings,
    figures={"f1": "Character F1", "exact_match": "Exact match", "loss": "Loss"},
    sort_key=QaLearner.sort_key,
    train=f"{KORQUAD}[:{TRAIN_ARTICLES}]",
    dev=f"{KORQUAD}[{TRAIN_ARTICLES}:]",
    columns={},
    source=SOURCE,
    read=_read,
    without_dev_rows=without_contexts_of,
    windows=lambda options: options,
)
