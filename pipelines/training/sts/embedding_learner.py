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
from pipelines.format.manifest import DEFAULT_THRESHOLDS
from pipelines.format.sentence_transformer import load_sentence_transformer, served_prompts
from pipelines.sts.data import ScoredPair
from pipelines.sts.metrics import f1_at
from pipelines.training.base import Base, keep_layers
from pipelines.training.learner import Figures
from pipelines.training.sts.centering import PORTION, TEXTS, center, last_norm
from pipelines.training.sts.learner import Encoder, StsSettings, correlate, prepared, shares, sort_key

PROMPT = "sts"  # the name in the checkpoint of the prompt that is set here
NONE = {"pearson_cosine": 0.0, "spearman_cosine": 0.0}


class EmbeddingLearner:
    """Learns the cosine of two sentences' embeddings. Its predictions are both embeddings, (2, dimensions).

    `prompt` stands before each sentence: the model's default one, which is saved with it.
    """

    def __init__(self, model: SentenceTransformer, prompt: str, settings: StsSettings, source: str) -> None:
        self.model: Any = model
        self._prompt = prompt
        self._source = source
        self._center = settings.center
        model[0].processor = prepared(model.tokenizer, settings)
        self._encode = Encoder(model[0].auto_model, model.tokenizer, settings)
        self._ranking = CoSENTLoss(model)  # Su 2022, https://kexue.fm/archives/8847
        self._ranking_weight = settings.ranking_weight

    @classmethod
    def load(cls, base: Base, settings: StsSettings) -> Self:
        """The base as sentence-transformers loads it: a bare encoder with the mean of its token vectors.

        Raises as `Base.find` and `served_prompts`, CheckpointUnsupported where there is no encoder in it, or none that
        can be centred though it should be.
        """
        with base.folder() as folder:
            model = load_sentence_transformer(folder, base.config_changes).float()
        encoder = getattr(model[0], "auto_model", None)
        if encoder is None:
            raise CheckpointUnsupported(base.source, "holds no encoder to train")
        keep_layers(encoder, base.layers)
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler.requires_grad_(False)  # nothing goes through it, for which workers would wait
        if settings.prompt:
            model.prompts[PROMPT] = settings.prompt
            model.default_prompt_name = PROMPT
        if settings.center:
            last_norm(model, base.source)
        return cls(model, served_prompts(model, base.source).symmetric, settings, base.source)

    def prepare(self, rows: Sequence[ScoredPair]) -> None:
        """Centre the embeddings, if that is set. Raises as `center`."""
        if not self._center:
            return
        sentences = [sentence for row in rows for sentence in (row.sentence1, row.sentence2)]
        texts = [self._prompt + sentence for sentence in sentences[:: -(-len(sentences) // TEXTS)]]
        batches = [self._encode(texts[start : start + PORTION]) for start in range(0, len(texts), PORTION)]
        center(self.model, batches, self._source)

    def loss(self, model: nn.Module, rows: Sequence[ScoredPair]) -> Tensor:
        """Mean squared error of the cosine, as a share of the scale, and the weighted ranking loss of the rows."""
        first, second = self._embed(model, rows)
        cosines = nn.functional.cosine_similarity(first, second)  # (rows,)
        wanted = shares(rows).to(cosines.device)
        squared = nn.functional.mse_loss(cosines, wanted)
        ranked: Tensor = self._ranking.compute_loss_from_embeddings([first, second], wanted)
        return squared + self._ranking_weight * ranked

    def length(self, row: ScoredPair) -> int:
        """In characters, of both sentences."""
        return len(row.sentence1) + len(row.sentence2)

    def predict(self, rows: Sequence[ScoredPair]) -> list[Any]:
        """Both embeddings of each row, of unit length."""
        pairs = torch.stack(self._embed(self.model, rows), dim=1)  # (rows, 2, dimensions)
        return list(nn.functional.normalize(pairs, dim=2).cpu().numpy())

    def measure(self, rows: Sequence[ScoredPair], predictions: Sequence[Any]) -> Figures:
        """F1 at the cosine that is served for a score of 3, the library's correlations, and the mean squared error."""
        pairs = np.stack(predictions)  # (rows, 2, dimensions)
        cosines = np.clip(np.einsum("pd,pd->p", pairs[:, 0], pairs[:, 1]), -1.0, 1.0)
        measured = (
            GatheredEvaluator(pairs, rows)(self.model) if correlate(cosines, [row.score for row in rows]) else NONE
        )
        return {
            "f1": f1_at(cosines, [row.same for row in rows], DEFAULT_THRESHOLDS["bi-encoder"] or 0.0),
            "pearson": float(measured["pearson_cosine"]),
            "spearman": float(measured["spearman_cosine"]),
            "loss": float(np.mean((cosines - shares(rows).numpy()) ** 2)),
        }

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """As of all heads."""
        return sort_key(figures)

    def save(self, folder: Path) -> None:
        """As sentence-transformers saves it."""
        self.model.save(str(folder), create_model_card=False)

    def _embed(self, model: nn.Module, rows: Sequence[ScoredPair]) -> tuple[Tensor, Tensor]:
        """Twice (rows, dimensions), from one pass: of a model that several workers train, each pass waits for all."""
        sentences = [row.sentence1 for row in rows] + [row.sentence2 for row in rows]
        texts = [self._prompt + sentence for sentence in sentences]
        embeddings = model(dict(self._encode(texts)))["sentence_embedding"].float()
        return embeddings[: len(rows)], embeddings[len(rows) :]


class GatheredEvaluator(EmbeddingSimilarityEvaluator):  # type: ignore[misc]
    """The library's evaluator, on embeddings (rows, 2, dimensions) that all workers have made together already."""

    def __init__(self, pairs: NDArray[Any], rows: Sequence[ScoredPair]) -> None:
        super().__init__(
            [row.sentence1 for row in rows],
            [row.sentence2 for row in rows],
            [row.score for row in rows],
            main_similarity="cosine",
        )
        self._gathered = iter((pairs[:, 0], pairs[:, 1]))

    def embed_inputs(self, _model: SentenceTransformer, _sentences: Sequence[str], **_: object) -> NDArray[Any]:
        """Of the first sentences, then of the second."""
        return next(self._gathered)
