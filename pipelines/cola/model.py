"""The acceptability classifier: it computes two logits; class 1 means "acceptable"."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.text.token_batch import TokenBatch


class Classifier:
    """A sequence-classification model with two outputs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Probabilities of class 1 (items,): the softmax over the two logits."""
        logits = self.engine.outputs(batch, "logits")[0]  # (items, 2)
        return np.asarray((1 + np.tanh((logits[:, 1] - logits[:, 0]) / 2)) / 2, dtype=np.float32)


def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> Classifier:
    """The model of a verified checkpoint. Raises as `load_engine`."""
    return Classifier(load_engine(folder, manifest, settings))
