"""What the training of the STS encoder minimises."""

import torch
from torch import Tensor, nn


def contrastive_loss(first: Tensor, second: Tensor, negatives: Tensor, groups: Tensor, *, temperature: float) -> Tensor:
    """Symmetric InfoNCE: each sentence must find its partner among all other sentences and the negatives, those of its
    own group left out.

    first, second (pairs, dimensions), negatives (hard, dimensions), all of unit length; groups (2 * pairs + hard,) of
    all of them in this order.
    """
    same = groups[: len(first), None] == groups[None, len(first) :]  # (pairs, pairs + hard)
    same.fill_diagonal_(False)
    loss = _info_nce(first, torch.cat([second, negatives]), same, temperature)
    return (loss + _info_nce(second, torch.cat([first, negatives]), same, temperature)) / 2


def _info_nce(anchors: Tensor, candidates: Tensor, left_out: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of picking candidate i for anchor i. anchors (pairs, dimensions), candidates (more, dimensions),
    left_out (pairs, more) bool."""
    logits = (anchors @ candidates.T / temperature).masked_fill(left_out, -torch.inf)
    return nn.functional.cross_entropy(logits, torch.arange(len(anchors)))


def scored_loss(first: Tensor, second: Tensor, scores: Tensor) -> Tensor:
    """Mean squared distance of the cosines from the annotators' scores, (scored,) from 0 to 1, of which KLUE's border
    between different and same, 3 of 5, is the served threshold. first, second (scored, dimensions) of unit length."""
    return nn.functional.mse_loss((first * second).sum(dim=1), scores)
