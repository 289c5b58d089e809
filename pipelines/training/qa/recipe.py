"""How QA trains: the original's model, batches, rate, epochs and windows, and a warm-up."""

from collections.abc import Sequence

from pydantic import Field

from pipelines.checkpoints.quality import Examples
from pipelines.format.windows import WindowSettings
from pipelines.qa.data import KORQUAD, SOURCE, TRAIN_ARTICLES, Example, read_articles, together, without_contexts
from pipelines.training.qa.learner import QaLearner
from pipelines.training.recipe import Recipe
from pipelines.training.settings import TrainingSettings

MODELS = ("beomi/kcbert-base",)


class QaTrainingSettings(TrainingSettings):
    """The original's, and of what a batch is."""

    epochs: int = Field(3, ge=1, description="Passes over the training rows; that with the lowest dev loss is kept.")
    batch_size: int = Field(
        32, ge=1, description="Windows of one step, over all workers together; a question has one or several."
    )


def _read(source: str, _columns: Sequence[str], split: str) -> list[Example]:
    return together(read_articles(source, split))


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
    examples=Examples.of_questions,
    apart=without_contexts,
    windows=lambda options: options,
)
