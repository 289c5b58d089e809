"""Fine-tuning for STS with a SentenceTransformer, which embeds each sentence by itself (a bi-encoder)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from torch import Tensor, nn

from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import KIND_SPECS
from pipelines.format.sentence_transformer import load_sentence_transformer, served_prompts
from pipelines.sts.data import ScoredPair
from pipelines.sts.metrics import f1_at
from pipelines.training.base import Base, keep_layers
from pipelines.training.learner import Figures
from pipelines.training.sts.centering import BATCH_SIZE, MOST_TEXTS, center, last_norm
from pipelines.training.sts.learner import (
    Encoder,
    StsSettings,
    has_correlation,
    prepare_tokenizer,
    scaled_scores,
    sort_key,
)

PROMPT = "sts"  # name of the prompt from the settings in the checkpoint
NO_CORRELATIONS = {"pearson_cosine": 0.0, "spearman_cosine": 0.0}


class EmbeddingLearner:
    """Trains the cosine of the embeddings of two sentences. Its predictions are both embeddings, (2, dimensions).

    `prompt`, the default prompt of the model, is put before each sentence and saved with the model.
    """

    def __init__(self, model: SentenceTransformer, prompt: str, settings: StsSettings, source: str) -> None:
        self.model: Any = model
        self._prompt = prompt
        self._source = source
        self._center = settings.center
        model[0].processor = prepare_tokenizer(model.tokenizer, settings)
        self._encode = Encoder(model[0].auto_model, model.tokenizer, settings)
        self._ranking = CoSENTLoss(model)  # Su 2022, https://kexue.fm/archives/8847
        self._ranking_weight = settings.ranking_weight

    @classmethod
    def load(cls, base: Base, settings: StsSettings) -> Self:
        """Load the base with sentence-transformers, which adds mean pooling to a bare encoder.

        Raises as `Base.find` and `served_prompts`, and CheckpointUnsupported if the base has no encoder, or if it can
        not be centred and the settings demand it.
        """
        with base.folder() as folder:
            model = load_sentence_transformer(folder, base.config_changes).float()
        encoder = getattr(model[0], "auto_model", None)
        if encoder is None:
            raise CheckpointUnsupported(base.source, "holds no encoder to train")
        keep_layers(encoder, base.layers)
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler.requires_grad_(False)  # unused; workers would wait for its gradient
        if settings.prompt:
            model.prompts[PROMPT] = settings.prompt
            model.default_prompt_name = PROMPT
        if settings.center:
            last_norm(model, base.source)
        return cls(model, served_prompts(model, base.source).symmetric, settings, base.source)

    def prepare(self, rows: Sequence[ScoredPair]) -> None:
        """Centre the embeddings if the settings say so. Raises as `center`."""
        if not self._center:
            return
        sentences = [sentence for row in rows for sentence in (row.sentence1, row.sentence2)]
        texts = [self._prompt + sentence for sentence in sentences[:: -(-len(sentences) // MOST_TEXTS)]]
        batches = [self._encode(texts[start : start + BATCH_SIZE]) for start in range(0, len(texts), BATCH_SIZE)]
        center(self.model, batches, self._source)

    def loss(self, model: nn.Module, rows: Sequence[ScoredPair]) -> Tensor:
        """The mean squared error of the cosine against the scaled score, plus the weighted ranking loss of the rows."""
        first, second = self._embed(model, rows)
        cosines = nn.functional.cosine_similarity(first, second)  # (rows,)
        target = scaled_scores(rows).to(cosines.device)
        squared = nn.functional.mse_loss(cosines, target)
        ranked: Tensor = self._ranking.compute_loss_from_embeddings([first, second], target)
        return squared + self._ranking_weight * ranked

    def length(self, row: ScoredPair) -> int:
        """The length of both sentences in characters."""
        return len(row.sentence1) + len(row.sentence2)

    def predict(self, rows: Sequence[ScoredPair]) -> list[Any]:
        """Both embeddings (2, dimensions) of each row, of unit length."""
        pairs = torch.stack(self._embed(self.model, rows), dim=1)  # (rows, 2, dimensions)
        return list(nn.functional.normalize(pairs, dim=2).cpu().numpy())

    def measure(self, rows: Sequence[ScoredPair], predictions: Sequence[Any]) -> Figures:
        """F1 at the default threshold of bi-encoders, correlations by the library, and the mean squared error."""
        pairs = np.stack(predictions)  # (rows, 2, dimensions)
        cosines = np.clip(np.einsum("pd,pd->p", pairs[:, 0], pairs[:, 1]), -1.0, 1.0)
        measured = (
            PrecomputedEvaluator(pairs, rows)(self.model)
            if has_correlation(cosines, [row.score for row in rows])
            else NO_CORRELATIONS
        )
        return {
            "f1": f1_at(cosines, [row.same for row in rows], KIND_SPECS["bi-encoder"].threshold or 0.0),
            "pearson": float(measured["pearson_cosine"]),
            "spearman": float(measured["spearman_cosine"]),
            "loss": float(np.mean((cosines - scaled_scores(rows).numpy()) ** 2)),
        }

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """The `sort_key` of all heads of STS."""
        return sort_key(figures)

    def save(self, folder: Path) -> None:
        """Save the model in the format of sentence-transformers."""
        self.model.save(str(folder), create_model_card=False)

    def _embed(self, model: nn.Module, rows: Sequence[ScoredPair]) -> tuple[Tensor, Tensor]:
        """The embeddings of both sentences, each (rows, dimensions), from one forward pass: passes are synchronized."""
        sentences = [row.sentence1 for row in rows] + [row.sentence2 for row in rows]
        texts = [self._prompt + sentence for sentence in sentences]
        embeddings = model(dict(self._encode(texts)))["sentence_embedding"].float()
        return embeddings[: len(rows)], embeddings[len(rows) :]


class PrecomputedEvaluator(EmbeddingSimilarityEvaluator):  # type: ignore[misc]
    """The evaluator of the library, applied to embeddings (rows, 2, dimensions) that the workers have computed."""

    def __init__(self, pairs: NDArray[Any], rows: Sequence[ScoredPair]) -> None:
        super().__init__(
            [row.sentence1 for row in rows],
            [row.sentence2 for row in rows],
            [row.score for row in rows],
            main_similarity="cosine",
        )
        self._precomputed = iter((pairs[:, 0], pairs[:, 1]))

    def embed_inputs(self, _model: SentenceTransformer, _sentences: Sequence[str], **_: object) -> NDArray[Any]:
        """Return the embeddings of the first sentences, and those of the second sentences at the next call."""
        return next(self._precomputed)
