"""Fine-tuning for STS: code that all heads share, and the heads that read both sentences together (cross-encoders)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification

from pipelines.checkpoints.tokenizers import gives_types
from pipelines.engines.torch_engine import takes_types
from pipelines.format.activations import declare_activation
from pipelines.format.two_layers import TwoLayersForSequenceClassification
from pipelines.sts.data import HIGHEST_SCORE, PARAPHRASE_FROM, ScoredPair
from pipelines.sts.metrics import f1_at, pearson, spearman
from pipelines.text.normalization import nfc
from pipelines.training.base import Base, limit_tokens
from pipelines.training.learner import Figures
from pipelines.training.settings import Frozen
from pipelines.training.sts.hangul import hangul_only

F1_STEP = 0.005
"""F1 scores are rounded to a multiple of this before they are compared; if they are then equal, the lower loss decides.
Unlike the rule "the loss decides if the scores differ by less than this", rounding gives a transitive order."""


class StsSettings(Frozen):
    """The settings that only STS has."""

    max_tokens: int = Field(
        128, ge=1, description="Inputs (a sentence, or both of a pair) are cut at this length, in training and serving."
    )
    ranking_weight: float = Field(
        0.1,
        ge=0,
        description="Weight of the ranking loss beside the squared error. Only for the sentence-transformer head.",
    )
    center: bool = Field(
        False,
        description="Before training, shift the embeddings so that their mean over the training sentences is zero; for "
        "encoders whose cosines are all high, such as E5. Only for the sentence-transformer head.",
    )
    text: Literal["raw", "hangul"] = Field(
        "raw", description="What the model sees of a text, in training and serving: all of it, or only Hangul."
    )
    prompt: str = Field(
        "",
        description='Text before each sentence, such as "query: "; it is saved in the checkpoint. If empty, the '
        "default prompt of the base is used. Only for the sentence-transformer head.",
    )


class PairLearner:
    """A cross-encoder with one output, the score of a pair from 0 to 5. Its predictions are not clipped."""

    def __init__(self, model: Any, tokenizer: Any, settings: StsSettings) -> None:
        self.model = model
        self._encode = Encoder(model, prepare_tokenizer(tokenizer, settings), settings)

    @classmethod
    def classification(cls, base: Base, settings: StsSettings) -> Self:
        """Put a new sequence-classification head of transformers on the base. Raises as `Base.load`."""
        one_output = {"num_labels": 1, "problem_type": "regression"}
        return cls(*base.load(AutoModelForSequenceClassification, **one_output), settings)

    @classmethod
    def layers(cls, base: Base, settings: StsSettings) -> Self:
        """Put two new layers on the mean of the base's token vectors. Raises as `Base.load`."""
        encoder, tokenizer = base.load(AutoModel)
        return cls(TwoLayersForSequenceClassification.on(encoder, num_labels=1), tokenizer, settings)

    def loss(self, model: nn.Module, rows: Sequence[ScoredPair]) -> Tensor:
        """The mean squared error of scores that are scaled to 0 to 1."""
        scores = model(**self._inputs(rows)).logits[:, 0].float()  # (rows,)
        return nn.functional.mse_loss(scores / HIGHEST_SCORE, scaled_scores(rows).to(scores.device))

    def length(self, row: ScoredPair) -> int:
        """The length of both sentences in characters."""
        return len(row.sentence1) + len(row.sentence2)

    def predict(self, rows: Sequence[ScoredPair]) -> list[Any]:
        """The score of each row, not clipped."""
        predicted: list[Any] = self.model(**self._inputs(rows)).logits[:, 0].float().tolist()
        return predicted

    def measure(self, rows: Sequence[ScoredPair], predictions: Sequence[Any]) -> Figures:
        """F1 of a score of 3 or more, correlations, and the mean squared error of scores scaled to 0 to 1."""
        raw = np.array(predictions)
        scores = np.clip(raw, 0.0, HIGHEST_SCORE)  # as they are served
        loss = float(np.mean((raw / HIGHEST_SCORE - scaled_scores(rows).numpy()) ** 2))
        return {
            "f1": f1_at(scores, [row.same for row in rows], PARAPHRASE_FROM),
            **correlations(scores, rows),
            "loss": loss,
        }

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """The `sort_key` of all heads of STS."""
        return sort_key(figures)

    def save(self, folder: Path) -> None:
        """Save model and tokenizer in the format of transformers, and that the outputs are scores as they are."""
        declare_activation(self.model.config, "identity")
        self.model.save_pretrained(folder)
        self._encode.tokenizer.save_pretrained(folder)

    def _inputs(self, rows: Sequence[ScoredPair]) -> Any:
        return self._encode([row.sentence1 for row in rows], [row.sentence2 for row in rows])


class Encoder:
    """Converts texts, or pairs of texts, to inputs of a transformers model."""

    def __init__(self, model: Any, tokenizer: Any, settings: StsSettings) -> None:
        self._model = model
        self.tokenizer = tokenizer
        self._max_tokens = limit_tokens(settings.max_tokens, tokenizer, model)
        self._takes_types = takes_types(model) and gives_types(tokenizer)

    def __call__(self, *texts: Sequence[str]) -> Any:
        """Input tensors (rows, tokens of the longest row) by name, on the model's device."""
        encoded = self.tokenizer(
            *([nfc(text) for text in column] for column in texts),
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
            return_token_type_ids=self._takes_types,
        )
        return encoded.to(self._model.device)


def prepare_tokenizer(tokenizer: Any, settings: StsSettings) -> Any:
    """Restrict the base's tokenizer to Hangul if the settings say so."""
    return hangul_only(tokenizer) if settings.text == "hangul" else tokenizer


def sort_key(figures: Figures) -> tuple[float, ...]:
    """F1, rounded to `F1_STEP`, decides; if it is equal, the lower loss."""
    return float(round(figures["f1"] / F1_STEP)), -figures["loss"]


def scaled_scores(rows: Sequence[ScoredPair]) -> Tensor:
    """The annotators' scores (rows,), scaled to 0 to 1."""
    return torch.tensor([row.score / HIGHEST_SCORE for row in rows])


def correlations(scores: NDArray[Any], rows: Sequence[ScoredPair]) -> Figures:
    """Pearson and Spearman correlation with the annotators' scores; 0 if they are undefined."""
    truth = [row.score for row in rows]
    if not has_correlation(scores, truth):
        return {"pearson": 0.0, "spearman": 0.0}
    return {"pearson": pearson(scores, truth), "spearman": spearman(scores, truth)}


def has_correlation(scores: NDArray[Any], truth: Sequence[float]) -> bool:
    """Whether the correlation of two lists (rows,) is defined: the scores are finite and neither list is constant."""
    return bool(np.isfinite(scores).all()) and len(set(scores.tolist())) > 1 and len(set(truth)) > 1
