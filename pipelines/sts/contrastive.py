"""Batches of sentences that mean the same among ones that do not, and the loss that tells them apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from pipelines.sts.data import Pool
from pipelines.sts.negatives import hard_negatives, same_meaning_groups

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Sentences:
    """The distinct training sentences.

    ids, starts  ragged tokens: sentence i is ids[starts[i]:starts[i + 1]]
    groups       (sentences,) equal where sentences are known to mean the same
    negatives    (sentences, hard) look-alikes of another group, -1 where there are fewer
    pairs        per pool (pairs, 2): sentences that mean the same
    weights      per pool its share of the draws; they sum to 1
    """

    ids: Indices
    starts: Indices
    groups: Indices
    negatives: Indices
    pairs: list[Indices]
    weights: NDArray[np.float64]

    def draw_pairs(self, size: int, draw: np.random.Generator) -> Indices:
        """(size, 2) sentences: a pair's two in random order."""
        chosen = draw.choice(len(self.pairs), size=size, p=self.weights)
        batch = np.stack([self.pairs[pool][draw.integers(len(self.pairs[pool]))] for pool in chosen])
        return np.where(draw.random((size, 1)) < 0.5, batch, batch[:, ::-1])

    def bags(self, chosen: Indices, dropout: float, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Token ids (tokens,) and the offsets (chosen,) of sentences, a share of the tokens dropped.

        A sentence's first token always stays, so that no bag is empty.
        """
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        begins = np.cumsum(lengths) - lengths
        ids = self.ids[np.repeat(self.starts[chosen] - begins, lengths) + np.arange(lengths.sum())]
        keep = draw.random(len(ids)) >= dropout
        keep[begins] = True
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return torch.from_numpy(ids[keep]), torch.from_numpy(kept_before[begins])


def index_sentences(pools: Sequence[Pool], tokenizer: PreTrainedTokenizerFast, negatives: int) -> Sentences:
    """The pools' sentences, tokenised, each with its `negatives` nearest look-alikes."""
    pools = [pool for pool in pools if pool.pairs]
    number: dict[str, int] = {}
    for text in (text for pool in pools for pair in pool.pairs for text in pair):
        number.setdefault(text, len(number))
    pairs = [np.array([(number[a], number[b]) for a, b in pool.pairs], dtype=np.int64) for pool in pools]
    encoded = tokenizer(list(number), add_special_tokens=False)["input_ids"]
    groups = same_meaning_groups(len(number), np.concatenate(pairs))
    weights = np.array([pool.weight for pool in pools], dtype=np.float64)
    return Sentences(
        ids=np.concatenate([np.asarray(ids, dtype=np.int64) for ids in encoded]),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])]).astype(np.int64),
        groups=groups,
        negatives=hard_negatives(list(number), groups, negatives),
        pairs=pairs,
        weights=weights / weights.sum(),
    )


def contrastive_loss(
    bag: nn.EmbeddingBag,
    sentences: Sentences,
    batch: Indices,
    *,
    temperature: float,
    dropout: float,
    draw: np.random.Generator,
) -> Tensor:
    """Symmetric InfoNCE over `batch` (pairs, 2): each sentence must find its partner among all other sentences of the
    batch and the hard negatives of all first ones, those of its own group left out."""
    hard = sentences.negatives[batch[:, 0]].ravel()
    chosen = np.concatenate([batch[:, 0], batch[:, 1], hard[hard >= 0]])
    ids, offsets = sentences.bags(chosen, dropout, draw)
    vectors = nn.functional.normalize(bag(ids, offsets), dim=1)  # (2 * pairs + hard, dimensions)
    first, second, negatives = vectors.tensor_split([len(batch), 2 * len(batch)])
    groups = torch.from_numpy(sentences.groups[chosen])
    same = groups[: len(batch), None] == groups[None, len(batch) :]  # (pairs, pairs + hard)
    same.fill_diagonal_(False)
    loss = _info_nce(first, torch.cat([second, negatives]), same, temperature)
    return (loss + _info_nce(second, torch.cat([first, negatives]), same, temperature)) / 2


def _info_nce(anchors: Tensor, candidates: Tensor, left_out: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of picking candidate i for anchor i. anchors (pairs, dimensions), candidates (more, dimensions),
    left_out (pairs, more) bool."""
    logits = (anchors @ candidates.T / temperature).masked_fill(left_out, -torch.inf)
    return nn.functional.cross_entropy(logits, torch.arange(len(anchors)))
