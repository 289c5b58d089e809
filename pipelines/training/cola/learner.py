"""Fine-tuning for CoLA: a pretrained encoder with two outputs, cross-entropy, Matthews correlation."""

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
from pipelines.training.base import Base, cut_at
from pipelines.training.learner import Figures

LABELS = ("unacceptable", "acceptable")


class ColaLearner:
    """Learns `Judgement`s; its predictions are logits (2,)."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._max_tokens = cut_at(max_tokens, tokenizer, model.config)

    @classmethod
    def load(cls, base: Base, max_tokens: int) -> "ColaLearner":
        """A new head on the base, whose inputs are cut at `max_tokens`. Raises as `Base.load`."""
        labels = {
            "id2label": dict(enumerate(LABELS)),
            "label2id": {label: number for number, label in enumerate(LABELS)},
        }
        return cls(*base.load(AutoModelForSequenceClassification, **labels), max_tokens)

    def loss(self, model: nn.Module, rows: Sequence[Judgement]) -> Tensor:
        """Mean cross-entropy."""
        labels = torch.tensor([int(row.acceptable) for row in rows], device=self.model.device)
        return nn.functional.cross_entropy(model(**self._encode(rows)).logits.float(), labels)

    def length(self, row: Judgement) -> int:
        """In characters."""
        return len(row.sentence)

    def predict(self, rows: Sequence[Judgement]) -> list[Any]:
        """Logits (2,) of each row."""
        logits = self.model(**self._encode(rows)).logits  # (rows, 2)
        return list(logits.float().cpu().numpy())

    def measure(self, rows: Sequence[Judgement], predictions: Sequence[Any]) -> Figures:
        """Matthews correlation, accuracy, mean cross-entropy, and the share of rows called acceptable."""
        logits = torch.from_numpy(np.stack(predictions))  # (rows, 2)
        truth = torch.tensor([row.acceptable for row in rows])
        called = logits[:, 1] > logits[:, 0]
        return {
            "matthews": matthews(called.numpy(), truth.numpy()),
            "accuracy": float((called == truth).float().mean()),
            "loss": float(nn.functional.cross_entropy(logits, truth.long())),
            "called_acceptable": float(called.float().mean()),
        }

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """Matthews correlation decides, as in the original; the lower loss between equals."""
        return figures["matthews"], -figures["loss"]

    def save(self, folder: Path) -> None:
        """As transformers saves them."""
        self.model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def _encode(self, rows: Sequence[Judgement]) -> Any:
        texts = [nfc(row.sentence) for row in rows]
        encoded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        return encoded.to(self.model.device)
