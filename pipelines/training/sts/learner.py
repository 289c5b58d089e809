"""Fine-tuning for STS: what all heads share, and those that read both sentences together (cross-encoders)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification

from pipelines.engines.torch_engine import takes_types
from pipelines.format.two_layers import TwoLayersForSequenceClassification
from pipelines.sts.data import BEST_SCORE, SAME_FROM, ScoredPair
from pipelines.sts.metrics import f1_at, pearson, spearman
from pipelines.text.normalization import nfc
from pipelines.training.base import Base, cut_at
from pipelines.training.learner import Figures
from pipelines.training.settings import Frozen
from pipelines.training.sts.hangul import hangul_only

NEAR = 0.005
"""F1 scores are near each other that are the same number of such steps, rounded: then the lower loss decides. Unlike
"at most so far apart" that is an order: if a is not better than b, and b not than c, then a is not better than c."""


class StsSettings(Frozen):
    """What is STS's own."""

    max_tokens: int = Field(
        128, ge=1, description="Longer inputs, one sentence or both of a pair, are cut; so they are when served, too."
    )
    ranking_weight: float = Field(
        0.1,
        ge=0,
        description="Of the ranking loss beside the squared error, where a SentenceTransformer is trained: 0 for none.",
    )
    center: bool = Field(
        False,
        description="Before training, move the embeddings so that the training sentences' mean is zero; for encoders "
        "whose cosines are all high, such as E5. Of the sentence-transformer head alone.",
    )
    text: Literal["raw", "hangul"] = Field(
        "raw", description="What the model sees of a text: all, or nothing but Hangul; so it is served, too."
    )
    prompt: str = Field(
        "",
        description='Put before each sentence, as in "query: "; it travels with the checkpoint. Of the '
        "sentence-transformer head alone; where empty, its base's own default prompt.",
    )


class PairLearner:
    """A cross-encoder: one output, the pair's score from 0 to 5. Its predictions are that, unbounded."""

    def __init__(self, model: Any, tokenizer: Any, settings: StsSettings) -> None:
        self.model = model
        self._encode = Encoder(model, prepared(tokenizer, settings), settings)

    @classmethod
    def classification(cls, base: Base, settings: StsSettings) -> Self:
        """transformers' own head for the base, a new one. Raises as `Base.load`."""
        one_output = {"num_labels": 1, "problem_type": "regression"}
        return cls(*base.load(AutoModelForSequenceClassification, **one_output), settings)

    @classmethod
    def layers(cls, base: Base, settings: StsSettings) -> Self:
        """Two new layers on the mean of the base's token vectors. Raises as `Base.load`."""
        encoder, tokenizer = base.load(AutoModel)
        return cls(TwoLayersForSequenceClassification.on(encoder, num_labels=1), tokenizer, settings)

    def loss(self, model: nn.Module, rows: Sequence[ScoredPair]) -> Tensor:
        """Mean squared error, as a share of the scale."""
        scores = model(**self._inputs(rows)).logits[:, 0].float()  # (rows,)
        return nn.functional.mse_loss(scores / BEST_SCORE, shares(rows).to(scores.device))

    def length(self, row: ScoredPair) -> int:
        """In characters, of both sentences."""
        return len(row.sentence1) + len(row.sentence2)

    def predict(self, rows: Sequence[ScoredPair]) -> list[Any]:
        """One number for each row."""
        predicted: list[Any] = self.model(**self._inputs(rows)).logits[:, 0].float().tolist()
        return predicted

    def measure(self, rows: Sequence[ScoredPair], predictions: Sequence[Any]) -> Figures:
        """F1 of a score of 3 or more, correlations, and the mean squared error as a share of the scale."""
        raw = np.array(predictions)
        scores = np.clip(raw, 0.0, BEST_SCORE)  # as they are served
        loss = float(np.mean((raw / BEST_SCORE - shares(rows).numpy()) ** 2))
        return {"f1": f1_at(scores, [row.same for row in rows], SAME_FROM), **correlations(scores, rows), "loss": loss}

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """See `sort_key`."""
        return sort_key(figures)

    def save(self, folder: Path) -> None:
        """As transformers saves them."""
        self.model.save_pretrained(folder)
        self._encode.tokenizer.save_pretrained(folder)

    def _inputs(self, rows: Sequence[ScoredPair]) -> Any:
        return self._encode([row.sentence1 for row in rows], [row.sentence2 for row in rows])


class Encoder:
    """Texts, or pairs of them, as inputs of a transformers model."""

    def __init__(self, model: Any, tokenizer: Any, settings: StsSettings) -> None:
        self._model = model
        self.tokenizer = tokenizer
        self._max_tokens = cut_at(settings.max_tokens, tokenizer, model.config)
        self._takes_types = takes_types(model)

    def __call__(self, *texts: Sequence[str]) -> Any:
        """Tensors (rows, longest) by name, on the model's device."""
        encoded = self.tokenizer(
            *([nfc(text) for text in column] for column in texts),
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
            return_token_type_ids=self._takes_types,
        )
        return encoded.to(self._model.device)


def prepared(tokenizer: Any, settings: StsSettings) -> Any:
    """The base's tokenizer, as the settings want it."""
    return hangul_only(tokenizer) if settings.text == "hangul" else tokenizer


def sort_key(figures: Figures) -> tuple[float, ...]:
    """F1 decides, as in the original; the lower loss where it is near."""
    return float(round(figures["f1"] / NEAR)), -figures["loss"]


def shares(rows: Sequence[ScoredPair]) -> Tensor:
    """Annotators' scores (rows,) as shares of the highest."""
    return torch.tensor([row.score / BEST_SCORE for row in rows])


def correlations(scores: NDArray[Any], rows: Sequence[ScoredPair]) -> Figures:
    """Pearson's and Spearman's with the annotators' scores; 0 where there is none."""
    truth = [row.score for row in rows]
    if not correlate(scores, truth):
        return {"pearson": 0.0, "spearman": 0.0}
    return {"pearson": pearson(scores, truth), "spearman": spearman(scores, truth)}


def correlate(scores: NDArray[Any], truth: Sequence[float]) -> bool:
    """Whether two lists (rows,) have a correlation: they are finite, and neither is the same number throughout."""
    return bool(np.isfinite(scores).all()) and len(set(scores.tolist())) > 1 and len(set(truth)) > 1
