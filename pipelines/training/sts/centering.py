"""Embeddings moved so that their mean is zero, before training.

Encoders that learned with a sharp temperature, as E5 did, embed all texts near one direction: unrelated ones have
cosines above .7, which are far from the scores to be learned. Without what all embeddings share, cosines spread over
the scale (Mu and Viswanath 2018, https://arxiv.org/abs/1702.01417). The bias of the encoder's last layer norm takes the
mean away, so that the model keeps its architecture.
"""

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import Tensor, nn

from pipelines.errors import CheckpointUnsupported

TEXTS = 1000
"""The mean is taken over so many texts at most."""
PORTION = 64
LEFT = 1e-3
"""Of the mean's length, so much may be left for rounding."""


def last_norm(model: SentenceTransformer, source: str) -> nn.LayerNorm:
    """The encoder's last layer norm. Raises CheckpointUnsupported where there is none, or it has no bias."""
    norms = [module for module in model[0].auto_model.modules() if isinstance(module, nn.LayerNorm)]
    if not norms or norms[-1].bias is None:
        raise CheckpointUnsupported(source, "its encoder has no layer norm with a bias, so it can't be centred")
    return norms[-1]


def center(model: SentenceTransformer, inputs: Sequence[Any], source: str) -> None:
    """Move the model's embeddings, before they are brought to unit length, so that their mean over `inputs` is zero.

    `inputs` are batches as the model takes them. Raises CheckpointUnsupported where they do not move as the bias of
    the last layer norm does: where a linear layer lies behind it, or pooling depends on the length.
    """
    norm = last_norm(model, source)
    before = _mean(model, inputs)
    if before.shape == norm.bias.shape:
        with torch.no_grad():
            norm.bias.sub_(before)
    if _mean(model, inputs).norm() > LEFT * before.norm():
        raise CheckpointUnsupported(
            source, "its embeddings do not move with its last layer norm, so they can't be centred"
        )


def _mean(model: SentenceTransformer, inputs: Sequence[Any]) -> Tensor:
    """(dimensions,)."""
    training = model.training
    model.eval()
    with torch.no_grad():
        embeddings = torch.cat([_pooled(model, batch) for batch in inputs])
    model.train(training)
    return embeddings.mean(dim=0)


def _pooled(model: SentenceTransformer, batch: Any) -> Tensor:
    """(texts, dimensions), of whatever length."""
    features = dict(batch)
    for module in model:
        if isinstance(module, Normalize):
            break
        features = module(features)
    embeddings: Tensor = features["sentence_embedding"].float()
    return embeddings
