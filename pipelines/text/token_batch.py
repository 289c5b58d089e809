"""Ragged token arrays, the form in which token ids are sent between deployments and wait in queues."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """The checkpoint that made the tokens: the digest of its manifest, its kind and its decision threshold."""

    digest: str
    kind: str
    threshold: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """`items` sequences of token ids, concatenated without padding.

    ids        (tokens,) int32
    types      (tokens,) uint8: segment ids
    lengths    (items,) int32: number of tokens of each item, including special tokens
    truncated  (items,) bool: whether the text was cut to fit
    regions    (items, 2) int32: half-open range of tokens, counted within the item, that may hold an answer; None
               for tasks other than QA
    longest    (items,) int32: most tokens of an answer; None for tasks other than QA
    """

    checkpoint: CheckpointRef
    ids: Int32
    types: NDArray[np.uint8]
    lengths: Int32
    truncated: NDArray[np.bool_]
    regions: Int32 | None = None
    longest: Int32 | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(items + 1,): the ids of item i are `ids[starts[i]:starts[i + 1]]`."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def padded_ids(self, pad_id: int) -> NDArray[np.int64]:
        """Ids as (items, longest), filled up with `pad_id` after the end of each item."""
        return self._padded(self.ids, pad_id)

    def padded_types(self) -> NDArray[np.int64]:
        """Segment ids as (items, longest), filled up with 0 after the end of each item."""
        return self._padded(self.types, 0)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(items, longest): True for tokens, False for padding."""
        longest = int(self.lengths.max(initial=0))
        return np.arange(longest) < self.lengths[:, None]

    def packing(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How a padded array (items, longest) is packed: the place of each token in it, and the token of each place.

        places  (tokens,): indices into the flattened padded array; an item without tokens has one, which is padding
        rows    (items, longest): indices of tokens; that of padding is 0
        """
        packed = self.mask
        packed[:, :1] = True
        places = np.flatnonzero(packed)
        rows = np.zeros(packed.shape, dtype=np.int64)
        rows[packed] = np.arange(len(places))
        return places, rows

    def _padded(self, values: NDArray[np.generic], fill: int) -> NDArray[np.int64]:
        mask = self.mask
        padded = np.full(mask.shape, fill, dtype=np.int64)
        padded[mask] = values
        return padded

    def select(self, items: NDArray[np.integer] | Sequence[int]) -> "TokenBatch":
        """A batch of the items with the given indices, in the given order."""
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
            longest=None if self.longest is None else self.longest[items],
        )

    def by_length(self, budget: int) -> Iterator[NDArray[np.int64]]:
        """Split the items into batches of similar length, longest first; yields the item indices of each batch.

        A batch has at most `budget` tokens, padded tokens included, unless it is a single longer item.
        """
        order = np.argsort(-self.lengths, kind="stable")
        while len(order):
            count = max(1, budget // max(1, int(self.lengths[order[0]])))
            yield order[:count]
            order = order[count:]

    @classmethod
    def concatenate(cls, batches: Sequence["TokenBatch"]) -> "TokenBatch":
        """All items of one or several batches of the same checkpoint, batch after batch."""
        if len(batches) == 1:
            return batches[0]
        regions = [batch.regions for batch in batches if batch.regions is not None]
        longest = [batch.longest for batch in batches if batch.longest is not None]
        return cls(
            checkpoint=batches[0].checkpoint,
            ids=np.concatenate([batch.ids for batch in batches]),
            types=np.concatenate([batch.types for batch in batches]),
            lengths=np.concatenate([batch.lengths for batch in batches]),
            truncated=np.concatenate([batch.truncated for batch in batches]),
            regions=np.concatenate(regions) if regions else None,
            longest=np.concatenate(longest) if longest else None,
        )

    @classmethod
    def take(cls, items: Sequence[tuple["TokenBatch", int]]) -> "TokenBatch":
        """A batch of the given items, each a (batch, index) pair, in the given order; all of the same checkpoint."""
        places: dict[TokenBatch, list[int]] = {}
        for place, (batch, _) in enumerate(items):
            places.setdefault(batch, []).append(place)
        parts = [batch.select([items[place][1] for place in chosen]) for batch, chosen in places.items()]
        return cls.concatenate(parts).select(np.argsort(np.concatenate(list(places.values()))))
