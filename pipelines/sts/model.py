"""The two kinds of STS model: a bi-encoder embeds sentences, a cross-encoder scores pairs."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.sts.data import HIGHEST_SCORE
from pipelines.text.token_batch import TokenBatch


class BiEncoder:
    """A sentence encoder: one embedding per sentence."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Embeddings (items, dimensions) of unit length, so that a dot product is a cosine."""
        return self.engine.outputs(batch, "sentence_embedding")[0]


class CrossEncoder:
    """A sequence-classification model with one output: the similarity score of a pair, from 0 to 5."""

    def __init__(self, engine: Engine, *, sigmoid: bool) -> None:
        self.engine = engine
        self._sigmoid = sigmoid

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Scores (items,) in [0, 5]. A model that was trained with a sigmoid outputs the score divided by 5."""
        logits = self.engine.outputs(batch, "logits")[0][:, 0]
        raw = HIGHEST_SCORE * (1 + np.tanh(logits / 2)) / 2 if self._sigmoid else logits
        return np.clip(raw, 0.0, HIGHEST_SCORE)


def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> BiEncoder | CrossEncoder:
    """The model of a verified checkpoint. Raises as `load_engine`."""
    engine = load_engine(folder, manifest, settings)
    return BiEncoder(engine) if manifest.kind == "bi-encoder" else CrossEncoder(engine, sigmoid=_sigmoid(folder))


def _sigmoid(folder: Path) -> bool:
    """Whether the config says that sentence-transformers trained the model with a sigmoid on its output."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    activation = config.get("sentence_transformers", {}).get("activation_fn", "")
    return str(activation).endswith("Sigmoid")
