"""Ragged token arrays: how token ids travel between deployments and wait in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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
        padded = np.full(self.mask.shape, fill, dtype=np.int64)
        padded[self.mask] = values
        return padded

    @classmethod
    def gather(cls, items: Sequence[tuple["TokenBatch", int]]) -> Self:
        """The named items of one or several batches of one checkpoint, in the given order."""
        starts = {id(batch): batch.starts for batch, _ in items}
        slices = [(batch, slice(*starts[id(batch)][i : i + 2])) for batch, i in items]
        first = items[0][0]
        return cls(
            checkpoint=first.checkpoint,
            ids=np.concatenate([batch.ids[part] for batch, part in slices]),
            types=np.concatenate([batch.types[part] for batch, part in slices]),
            lengths=np.array([batch.lengths[i] for batch, i in items], dtype=np.int32),
            truncated=np.array([batch.truncated[i] for batch, i in items], dtype=np.bool_),
            regions=None if first.regions is None else _gather_rows(items),
        )


def _gather_rows(items: Sequence[tuple[TokenBatch, int]]) -> Int32:
    rows = [batch.regions[i] for batch, i in items if batch.regions is not None]
    return np.array(rows, dtype=np.int32).reshape(-1, 2)
