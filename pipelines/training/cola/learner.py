"""Fine-tuning for CoLA: a pretrained encoder with two outputs, trained with cross-entropy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from pipelines.cola.data import Judgement
from pipelines.cola.metrics import matthews
from pipelines.text.normalization import nfc
from pipelines.training.base import Base, limit_tokens
from pipelines.training.learner import Figures

LABELS = ("unacceptable", "acceptable")


class ColaLearner:
    """Trains on `Judgement`s; its predictions are logits (2,)."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._max_tokens = limit_tokens(max_tokens, tokenizer, model)

    @classmethod
    def load(cls, base: Base, max_tokens: int) -> "ColaLearner":
        """Put a new head on the base; inputs are cut at `max_tokens`. Raises as `Base.load`."""
        labels = {
            "id2label": dict(enumerate(LABELS)),
            "label2id": {label: number for number, label in enumerate(LABELS)},
            "num_labels": len(LABELS),
            "problem_type": "single_label_classification",
        }
        return cls(*base.load(AutoModelForSequenceClassification, **labels), max_tokens)

    def loss(self, model: nn.Module, rows: Sequence[Judgement]) -> Tensor:
        """The mean cross-entropy."""
        labels = torch.tensor([int(row.acceptable) for row in rows], device=self.model.device)
        return nn.functional.cross_entropy(model(**self._encode(rows)).logits.float(), labels)

    def length(self, row: Judgement) -> int:
        """The length in characters."""
        return len(row.sentence)

    def predict(self, rows: Sequence[Judgement]) -> list[Any]:
        """The logits (2,) of each row."""
        logits = self.model(**self._encode(rows)).logits  # (rows, 2)
        return list(logits.float().cpu().numpy())

    def measure(self, rows: Sequence[Judgement], predictions: Sequence[Any]) -> Figures:
        """Matthews correlation, accuracy, mean cross-entropy, and the share of rows predicted to be acceptable."""
        logits = torch.from_numpy(np.stack(predictions))  # (rows, 2)
        truth = torch.tensor([row.acceptable for row in rows])
        predicted = logits[:, 1] > logits[:, 0]
        return {
            "matthews": matthews(predicted.numpy(), truth.numpy()),
            "accuracy": float((predicted == truth).float().mean()),
            "loss": float(nn.functional.cross_entropy(logits, truth.long())),
            "called_acceptable": float(predicted.float().mean()),
        }

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """Matthews correlation decides, and the lower loss if it is equal."""
        return figures["matthews"], -figures["loss"]

    def save(self, folder: Path) -> None:
        """Save model and tokenizer in the format of transformers."""
        self.model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def _encode(self, rows: Sequence[Judgement]) -> Any:
        texts = [nfc(row.sentence) for row in rows]
        encoded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        return encoded.to(self.model.device)
