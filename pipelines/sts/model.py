"""The two kinds of STS model: a bi-encoder embeds sentences, a cross-encoder scores pairs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Activation, Manifest, Scale
from pipelines.sts.data import HIGHEST_SCORE
from pipelines.text.token_batch import TokenBatch


class BiEncoder:
    """A sentence encoder: one embedding per sentence."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Embeddings (items, dimensions) of unit length, so that a dot product is a cosine."""
        return self.engine.outputs(batch, "sentence_embedding")[0]


ACTIVATIONS: dict[Activation, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid": lambda outputs: (1 + np.tanh(outputs / 2)) / 2,
    "identity": lambda outputs: outputs,
    "tanh": np.tanh,
}


class CrossEncoder:
    """A sequence-classification model with one output: the similarity score of a pair, from 0 to 5.

    activation  the function of the output; its value is the model's prediction
    scale       the predictions that become the scores 0 and 5
    """

    def __init__(self, engine: Engine, *, activation: Activation, scale: Scale) -> None:
        self.engine = engine
        self._activation = ACTIVATIONS[activation]
        self._lowest, highest = scale
        self._factor = HIGHEST_SCORE / (highest - self._lowest)

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Scores (items,) in [0, 5]. A prediction outside the scale gives 0 or 5."""
        predictions = self._activation(self.engine.outputs(batch, "logits")[0][:, 0])
        scores: NDArray[np.float32] = np.clip((predictions - self._lowest) * self._factor, 0.0, HIGHEST_SCORE)
        return scores


def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> BiEncoder | CrossEncoder:
    """The model of a verified checkpoint. Raises as `load_engine`."""
    engine = load_engine(folder, manifest, settings)
    if manifest.kind == "bi-encoder":
        return BiEncoder(engine)
    if manifest.activation is None or manifest.scale is None:
        activation, scale = _declared_in_config(folder)
        return CrossEncoder(engine, activation=activation, scale=scale)
    return CrossEncoder(engine, activation=manifest.activation, scale=manifest.scale)


def _declared_in_config(folder: Path) -> tuple[Activation, Scale]:
    """Activation and scale for a manifest that has none: a sigmoid if config.json says so, otherwise scores 0 to 5."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    activation = config.get("sentence_transformers", {}).get("activation_fn", "")
    if str(activation).endswith("Sigmoid"):
        return "sigmoid", (0.0, 1.0)
    return "identity", (0.0, HIGHEST_SCORE)
