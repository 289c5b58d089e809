"""Centering: before training, shift the embeddings so that their mean is zero.

Encoders that were trained with a low temperature, such as E5, embed all texts near one direction. Even unrelated texts
have cosines above 0.7, which are far from the scores to learn. Without the common mean, the cosines spread over the
scale (Mu and Viswanath 2018, https://arxiv.org/abs/1702.01417). The mean is subtracted from the bias of the encoder's
last layer norm, so that the architecture does not change.
"""

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import Tensor, nn

from pipelines.errors import CheckpointUnsupported

MOST_TEXTS = 1000
"""Maximum number of texts over which the mean is computed."""
BATCH_SIZE = 64
TOLERANCE = 1e-3
"""The share of the mean's norm that may remain because of rounding."""


def last_norm(model: SentenceTransformer, source: str) -> nn.LayerNorm:
    """The encoder's last layer norm. Raises CheckpointUnsupported if there is none or it has no bias."""
    norms = [module for module in model[0].auto_model.modules() if isinstance(module, nn.LayerNorm)]
    if not norms or norms[-1].bias is None:
        raise CheckpointUnsupported(source, "its encoder has no layer norm with a bias, so it can't be centred")
    return norms[-1]


def center(model: SentenceTransformer, inputs: Sequence[Any], source: str) -> None:
    """Shift the embeddings, before normalization, so that their mean over `inputs`, which are batches, is zero.

    Raises CheckpointUnsupported if the embeddings do not shift with the bias of the last layer norm. This happens if a
    linear layer follows it, or if the pooling depends on the length of the text.
    """
    norm = last_norm(model, source)
    before = _mean(model, inputs)
    if before.shape == norm.bias.shape:
        with torch.no_grad():
            norm.bias.sub_(before)
    if _mean(model, inputs).norm() > TOLERANCE * before.norm():
        raise CheckpointUnsupported(
            source, "its embeddings do not shift with the bias of its last layer norm, so they can't be centred"
        )


def _mean(model: SentenceTransformer, inputs: Sequence[Any]) -> Tensor:
    """The mean embedding (dimensions,), before normalization."""
    training = model.training
    model.eval()
    with torch.no_grad():
        embeddings = torch.cat([_pooled(model, batch) for batch in inputs])
    model.train(training)
    return embeddings.mean(dim=0)


def _pooled(model: SentenceTransformer, batch: Any) -> Tensor:
    """Embeddings (texts, dimensions), before normalization."""
    features = dict(batch)
    for module in model:
        if isinstance(module, Normalize):
            break
        features = module(features)
    embeddings: Tensor = features["sentence_embedding"].float()
    return embeddings
