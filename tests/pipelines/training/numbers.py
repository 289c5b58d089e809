"""A learner that needs no files and trains quickly: it decides whether a number is above one half."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.training.learner import Figures
from pipelines.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=4, batch_size=8, learning_rate=0.2, warmup_ratio=0.25, schedule="linear")
TRAIN = [number / 50 for number in range(50)]  # the last batch of an epoch has two rows
STEPS = 4 * 7
DEV = [(2 * number + 1) / 60 for number in range(30)]


class NumbersLearner:
    """A model of two layers with dropout between them."""

    def __init__(self, dropout: float = 0.0) -> None:
        self.model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))

    def loss(self, model: nn.Module, rows: Sequence[float]) -> Tensor:
        truth = torch.tensor([float(row > 0.5) for row in rows])
        return nn.functional.binary_cross_entropy_with_logits(model(torch.tensor(rows)[:, None])[:, 0], truth)

    def length(self, row: float) -> int:
        return 1

    def predict(self, rows: Sequence[float]) -> list[Any]:
        logits: list[float] = self.model(torch.tensor(rows)[:, None])[:, 0].tolist()
        return logits

    def measure(self, rows: Sequence[float], predictions: Sequence[Any]) -> Figures:
        assert len(rows) == len(predictions)
        right = [(row > 0.5) == (logit > 0) for row, logit in zip(rows, predictions, strict=True)]
        truth = torch.tensor([float(row > 0.5) for row in rows])
        loss = nn.functional.binary_cross_entropy_with_logits(torch.tensor(predictions), truth)
        return {"accuracy": sum(right) / len(right), "loss": float(loss)}

    def sort_key(self, figures: Figures) -> tuple[float, ...]:
        return figures["accuracy"], -figures["loss"]

    def save(self, folder: Path) -> None:
        raise NotImplementedError("numbers are not served")


class Disturbed(NumbersLearner):
    """Calls `happens` once, at the `at`-th step; the file `marker` records that it was called."""

    def __init__(self, at: int, marker: Path, happens: Callable[[], None]) -> None:
        super().__init__()
        self._left, self._marker, self._happens = at, marker, happens

    def loss(self, model: nn.Module, rows: Sequence[float]) -> Tensor:
        self._left -= 1
        if self._left == 0 and not self._marker.exists():
            self._marker.touch()
            self._happens()
        return super().loss(model, rows)


def die() -> None:
    """Kill this process, like the kernel does if a process uses too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(user: int) -> None:
    """Send Ctrl-C to the user's process, and never return."""
    os.kill(user, signal.SIGINT)
    threading.Event().wait()
