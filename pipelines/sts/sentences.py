"""The training sentences as token ids, and batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pipelines.sts.data import BEST_SCORE, Pool, ScoredPool
from pipelines.sts.negatives import hard_negatives, same_meaning_groups

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sentences by number.

    partners   (pairs, 2) sentences that mean the same
    negatives  (hard,) look-alikes of first partners
    scored     (scored, 2) sentences of which annotators said how alike they are
    scores     (scored,) what they said, from 0 to 1
    """

    partners: Indices
    negatives: Indices
    scored: Indices
    scores: NDArray[np.float32]

    @property
    def contrasted(self) -> Indices:
        """(2 * pairs + hard,): first partners, second partners, negatives."""
        return np.concatenate([self.partners[:, 0], self.partners[:, 1], self.negatives])

    @property
    def sentences(self) -> Indices:
        """(2 * pairs + hard + 2 * scored,): the contrasted ones, first scored ones, second scored ones."""
        return np.concatenate([self.contrasted, self.scored[:, 0], self.scored[:, 1]])


@dataclass(frozen=True)
class Sentences:
    """The distinct training sentences; those that have a partner come first.

    ids, starts    ragged tokens: sentence i is ids[starts[i]:starts[i + 1]]
    groups         (sentences,) equal where sentences are known to mean the same
    negatives      (with a partner, hard) look-alikes of another group, -1 where there are fewer
    pairs          per pool (pairs, 2): sentences that mean the same
    weights        per pool its share of the draws; they sum to 1
    scored         per scored pool (pairs, 2)
    scores         per scored pool (pairs,), from 0 to 1
    scored_weights per scored pool its share of the draws; they sum to 1
    """

    ids: Indices
    starts: Indices
    groups: Indices
    negatives: Indices
    pairs: list[Indices]
    weights: NDArray[np.float64]
    scored: list[Indices]
    scores: list[NDArray[np.float32]]
    scored_weights: NDArray[np.float64]

    def draw(self, partners: int, scored: int, draw: np.random.Generator) -> Batch:
        """`partners` pairs that mean the same, their two in random order, and `scored` scored pairs."""
        drawn = [(self.pairs[pool], row) for pool, row in _draw_rows(self.pairs, self.weights, partners, draw)]
        batch = np.stack([pairs[row] for pairs, row in drawn])
        batch = np.where(draw.random((partners, 1)) < 0.5, batch, batch[:, ::-1])
        hard = self.negatives[batch[:, 0]].ravel()
        rows = _draw_rows(self.scored, self.scored_weights, scored, draw)
        return Batch(
            partners=batch,
            negatives=hard[hard >= 0],
            scored=np.stack([self.scored[pool][row] for pool, row in rows]),
            scores=np.array([self.scores[pool][row] for pool, row in rows], dtype=np.float32),
        )

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


def _draw_rows(
    pools: Sequence[Indices], weights: NDArray[np.float64], size: int, draw: np.random.Generator
) -> list[tuple[int, int]]:
    """`size` pools, each with a row of it."""
    chosen = draw.choice(len(pools), size=size, p=weights).tolist()
    return [(pool, int(draw.integers(len(pools[pool])))) for pool in chosen]


def index_sentences(
    pools: Sequence[Pool], scored_pools: Sequence[ScoredPool], tokenizer: PreTrainedTokenizerFast, negatives: int
) -> Sentences:
    """The pools' sentences, tokenised; each that has a partner with its `negatives` nearest look-alikes."""
    pools = [pool for pool in pools if pool.pairs]
    scored_pools = [pool for pool in scored_pools if pool.pairs]
    number: dict[str, int] = {}
    pairs = [_numbered(pool.pairs, number) for pool in pools]
    partnered = list(number)
    scored = [_numbered([(pair.sentence1, pair.sentence2) for pair in pool.pairs], number) for pool in scored_pools]
    encoded = tokenizer(list(number), add_special_tokens=False)["input_ids"]
    groups = same_meaning_groups(len(number), np.concatenate(pairs))
    return Sentences(
        ids=np.concatenate([np.asarray(ids, dtype=np.int64) for ids in encoded]),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])]).astype(np.int64),
        groups=groups,
        negatives=hard_negatives(partnered, groups[: len(partnered)], negatives),
        pairs=pairs,
        weights=_shares(pools),
        scored=scored,
        scores=[np.array([pair.score / BEST_SCORE for pair in pool.pairs], dtype=np.float32) for pool in scored_pools],
        scored_weights=_shares(scored_pools),
    )


def _numbered(pairs: Sequence[tuple[str, str]], number: dict[str, int]) -> Indices:
    """(pairs, 2): each sentence's number, of which new ones get the next."""
    return np.array([[number.setdefault(text, len(number)) for text in pair] for pair in pairs], dtype=np.int64)


def _shares(pools: Sequence[Pool | ScoredPool]) -> NDArray[np.float64]:
    total = sum(pool.weight for pool in pools)
    return np.array([pool.weight / total for pool in pools], dtype=np.float64)
