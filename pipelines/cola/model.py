"""The acceptability classifier: it computes two logits; one of the two classes means "acceptable"."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.text.token_batch import TokenBatch


class Classifier:
    """A sequence-classification model with two outputs; `positive` is the index of the one for "acceptable"."""

    def __init__(self, engine: Engine, *, positive: int = 1) -> None:
        self.engine = engine
        self._positive = positive

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Probabilities of "acceptable" (items,): the softmax over the two logits."""
        logits = self.engine.outputs(batch, "logits")[0]  # (items, 2)
        difference = logits[:, self._positive] - logits[:, 1 - self._positive]
        return np.asarray((1 + np.tanh(difference / 2)) / 2, dtype=np.float32)


def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> Classifier:
    """The model of a verified checkpoint. Raises as `load_engine`."""
    return Classifier(load_engine(folder, manifest, settings), positive=manifest.positive_output)
