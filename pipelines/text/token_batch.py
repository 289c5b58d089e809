"""Ragged token arrays: how token ids travel between deployments and wait in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """Which checkpoint made the tokens: the start of its manifest's SHA-256, its kind, its decision threshold."""

    digest: str
    kind: str
    threshold: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """`items` sequences of token ids, end to end, never padded.

    ids        (tokens,) int32
    types      (tokens,) uint8, segment ids
    lengths    (items,) int32, tokens of each item, special ones included
    truncated  (items,) bool, True where text was left out
    regions    (items, 2) int32: where in the item an answer may lie, half-open, in tokens; None outside QA
    """

    checkpoint: CheckpointRef
    ids: Int32
    types: NDArray[np.uint8]
    lengths: Int32
    truncated: NDArray[np.bool_]
    regions: Int32 | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(items + 1,): item i is `ids[starts[i]:starts[i + 1]]`."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def padded_ids(self, pad_id: int) -> NDArray[np.int64]:
        """(items, longest), `pad_id` behind each item's end."""
        return self._padded(self.ids, pad_id)

    def padded_types(self) -> NDArray[np.int64]:
        """(items, longest), 0 behind each item's end."""
        return self._padded(self.types, 0)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(items, longest): True on tokens, False on padding."""
        longest = int(self.lengths.max(initial=0))
        return np.arange(longest) < self.lengths[:, None]

    def _padded(self, values: NDArray[np.generic], fill: int) -> NDArray[np.int64]:
        mask = self.mask
        padded = np.full(mask.shape, fill, dtype=np.int64)
        padded[mask] = values
        return padded

    def select(self, items: NDArray[np.integer] | Sequence[int]) -> "TokenBatch":
        """The items of these numbers, in the given order."""
        lengths = self.lengths[items]
        starts = self.starts[items]
        before = np.cumsum(lengths, dtype=np.int64) - lengths
        tokens = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        return TokenBatch(
            checkpoint=self.checkpoint,
            ids=self.ids[tokens],
            types=self.types[tokens],
            lengths=lengths,
            truncated=self.truncated[items],
            regions=None if self.regions is None else self.regions[items],
        )

    def by_length(self, budget: int) -> Iterator[NDArray[np.int64]]:
        """All items' numbers by likeness of length, longest first: batches of at most `budget` tokens with padding."""
        order = np.argsort(-self.lengths, kind="stable")
        while len(order):
            count = max(1, budget // max(1, int(self.lengths[order[0]])))
            yield order[:count]
            order = order[count:]

    @classmethod
    def concatenate(cls, batches: Sequence["TokenBatch"]) -> "TokenBatch":
        """All items of one or several batches of one checkpoint, one batch after the other."""
        if len(batches) == 1:
            return batches[0]
        regions = [batch.regions for batch in batches if batch.regions is not None]
        return cls(
            checkpoint=batches[0].checkpoint,
            ids=np.concatenate([batch.ids for batch in batches]),
            types=np.concatenate([batch.types for batch in batches]),
            lengths=np.concatenate([batch.lengths for batch in batches]),
            truncated=np.concatenate([batch.truncated for batch in batches]),
            regions=np.concatenate(regions) if regions else None,
        )

    @classmethod
    def take(cls, items: Sequence[tuple["TokenBatch", int]]) -> "TokenBatch":
        """The named items of one or several batches of one checkpoint, in the given order."""
        places: dict[TokenBatch, list[int]] = {}
        for place, (batch, _) in enumerate(items):
            places.setdefault(batch, []).append(place)
        parts = [batch.select([items[place][1] for place in chosen]) for batch, chosen in places.items()]
        return cls.concatenate(parts).select(np.argsort(np.concatenate(list(places.values()))))
