"""The acceptability classifier: two logits, of which class 1 is "acceptable"."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

import pipelines.gated_conv  # noqa: F401  registers the architecture
from pipelines.checkpoints.loading import load_transformers
from pipelines.engines.settings import EngineSettings
from pipelines.engines.torch_engine import TorchEngine
from pipelines.tokens import TokenBatch


class Classifier:
    """A sequence-classification model with two outputs."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine
        self.engine = engine.name

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """(items,): the probability of class 1, softmax over the two logits."""
        logits = self._engine.outputs(batch, "logits")[0]  # (items, 2)
        return np.asarray((1 + np.tanh((logits[:, 1] - logits[:, 0]) / 2)) / 2, dtype=np.float32)


def load(folder: Path, settings: EngineSettings) -> Classifier:
    """The model of a verified checkpoint. Raises CheckpointDamaged where files do not fit each other."""
    model = load_transformers(AutoModelForSequenceClassification, folder)
    return Classifier(TorchEngine(model, settings, pad_id=model.config.pad_token_id or 0))
