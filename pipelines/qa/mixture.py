"""Batches of labelled windows from several sources, whose shares shift during training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.qa.features import LabelledWindows
from pipelines.tokens import TokenBatch


@dataclass(frozen=True)
class Batch:
    """Padded windows (batch, tokens) and the tokens where their answers start and end (batch,)."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    start_positions: Tensor
    end_positions: Tensor


@dataclass(frozen=True)
class Mixture:
    """Sources of windows, and their shares of the draws as training begins and as it ends."""

    sources: Sequence[LabelledWindows]
    shares_first: Sequence[float]
    shares_last: Sequence[float]
    random_windows: float
    pad_id: int

    def draw(self, batch: int, progress: float, draw: np.random.Generator) -> Batch:
        """`batch` windows; `progress` of training from 0 to 1."""
        shares = (1 - progress) * np.array(self.shares_first) + progress * np.array(self.shares_last)
        counts = draw.multinomial(batch, shares / shares.sum())
        drawn = [
            (source, source.draw(count, self.random_windows, draw))
            for source, count in zip(self.sources, counts.tolist(), strict=True)
        ]
        tokens = TokenBatch.gather([(source.windows.tokens, int(row)) for source, rows in drawn for row in rows])
        return Batch(
            input_ids=torch.from_numpy(tokens.padded_ids(self.pad_id)),
            attention_mask=torch.from_numpy(tokens.mask),
            token_type_ids=torch.from_numpy(tokens.padded_types()),
            start_positions=torch.from_numpy(np.concatenate([source.starts[rows] for source, rows in drawn])),
            end_positions=torch.from_numpy(np.concatenate([source.ends[rows] for source, rows in drawn])),
        )


@dataclass(frozen=True)
class Disguise:
    """Ways to hide which words a window is made of, so that none is learned by heart.

    hidden     share of ordinary tokens that become [MASK], each on its own
    exchanged  share of `rare` tokens that stand for each other all over a batch: a name of the question and the same
               name in the context stay the same name
    """

    hidden: float
    exchanged: float
    rare: NDArray[np.int64]
    mask_id: int
    vocab_size: int

    def __call__(self, ids: Tensor, draw: np.random.Generator) -> Tensor:
        """ids (batch, tokens) with other words in them; special tokens, all up to `mask_id`, stay."""
        exchange = np.arange(self.vocab_size)
        chosen = draw.permutation(self.rare)[: round(self.exchanged * len(self.rare))]
        exchange[chosen] = np.roll(chosen, 1)
        ids = torch.from_numpy(exchange)[ids]
        hidden = torch.from_numpy(draw.random(ids.shape) < self.hidden) & (ids > self.mask_id)
        return ids.masked_fill(hidden, self.mask_id)


def rare_tokens(source: LabelledWindows, common: int, mask_id: int, vocab_size: int) -> NDArray[np.int64]:
    """The ordinary tokens but for the `common` most frequent ones of a source."""
    counts = np.bincount(source.windows.tokens.ids, minlength=vocab_size)
    order = np.argsort(-counts, kind="stable")
    rare = np.setdiff1d(np.arange(mask_id + 1, vocab_size), order[:common])
    return rare.astype(np.int64)
