"""The two kinds of STS model: a bi-encoder embeds sentences, a cross-encoder scores pairs."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import AutoModelForSequenceClassification

from pipelines.checkpoints.loading import load_transformers
from pipelines.checkpoints.manifest import Manifest
from pipelines.checkpoints.sentence_transformer import load_sentence_transformer
from pipelines.engines.settings import EngineSettings
from pipelines.engines.torch_engine import TorchEngine, device_of, place, to_numpy
from pipelines.tokens import TokenBatch

BEST_SCORE = 5.0  # of KLUE-STS's scale (Park et al. 2021, https://arxiv.org/abs/2105.09680)


class BiEncoder:
    """A SentenceTransformer: one embedding per sentence."""

    def __init__(self, model: SentenceTransformer, settings: EngineSettings) -> None:
        self._device = device_of(settings)
        self._model = place(model, settings)
        self._static = isinstance(model[0], StaticEmbedding)
        self._padded = (
            None if self._static else TorchEngine(model[0].auto_model, settings, pad_id=_pad_id(model)).padded
        )
        self.engine = f"torch {settings.dtype} on {self._device.type}"

    @torch.inference_mode()
    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """(items, dimensions): embeddings of unit length, so that a dot product is a cosine."""
        embeddings = self._model(self._features(batch))["sentence_embedding"].float()
        return to_numpy(torch.nn.functional.normalize(embeddings, dim=1))

    def _features(self, batch: TokenBatch) -> dict[str, torch.Tensor]:
        if self._padded is not None:
            return self._padded(batch)
        ids = torch.from_numpy(batch.ids.astype(np.int64)).to(self._device)
        return {"input_ids": ids, "offsets": torch.from_numpy(batch.starts[:-1].copy()).to(self._device)}


class CrossEncoder:
    """A sequence-classification model with one output: the similarity of a pair, from 0 to 5."""

    def __init__(self, engine: TorchEngine, *, sigmoid: bool) -> None:
        self._engine = engine
        self._sigmoid = sigmoid
        self.engine = engine.name

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """(items,): scores in [0, 5]. A model trained through a sigmoid gives a share of 5."""
        logits = self._engine.outputs(batch, "logits")[0][:, 0]
        raw = BEST_SCORE * (1 + np.tanh(logits / 2)) / 2 if self._sigmoid else logits
        return np.clip(raw, 0.0, BEST_SCORE)


def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> BiEncoder | CrossEncoder:
    """The model of a verified checkpoint. Raises CheckpointDamaged where files do not fit each other."""
    if manifest.kind == "bi-encoder":
        return BiEncoder(load_sentence_transformer(folder), settings)
    model = load_transformers(AutoModelForSequenceClassification, folder)
    engine = TorchEngine(model, settings, pad_id=model.config.pad_token_id or 0)
    return CrossEncoder(engine, sigmoid=_sigmoid(folder))


def _pad_id(model: SentenceTransformer) -> int:
    return int(model.tokenizer.pad_token_id or 0)


def _sigmoid(folder: Path) -> bool:
    """Whether sentence-transformers trained the model through a sigmoid, as its config says."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    activation = config.get("sentence_transformers", {}).get("activation_fn", "")
    return str(activation).endswith("Sigmoid")
