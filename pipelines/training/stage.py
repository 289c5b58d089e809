"""The rows that a run is trained on: one or more stages in sequence, each with one or more mixed sources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from pipelines.text.rows import Row

POOL = 16
"""Number of batches whose rows are sorted by length together. It is a compromise between little padding (more) and
random batches (fewer)."""


@dataclass(frozen=True)
class Source(Generic[Row]):
    """Rows to train on.

    name    the name that the user gave the source
    weight  how often an epoch uses each row; 0.5: a random half of them, another one in every epoch; 2: each twice
    """

    rows: Sequence[Row]
    name: str = ""
    weight: float = 1.0

    @property
    def rows_per_epoch(self) -> int:
        """The number of rows that an epoch uses, at least one."""
        return max(1, round(self.weight * len(self.rows)))


@dataclass(frozen=True)
class Stage(Generic[Row]):
    """Sources whose rows are mixed in every batch."""

    sources: Sequence[Source[Row]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Stage[Row]":
        """A stage in which every epoch uses each row once."""
        return cls([Source(rows)])

    @property
    def rows_per_epoch(self) -> int:
        """The number of rows that an epoch uses."""
        return sum(source.rows_per_epoch for source in self.sources)

    def map(self, change: Callable[[Sequence[Row]], Sequence[Any]]) -> "Stage[Any]":
        """Replace the rows of each source by `change(rows)`."""
        return Stage([Source(change(source.rows), source.name, source.weight) for source in self.sources])

    def batches(self, size: int, seed: Sequence[int], length: Callable[[Row], int] | None) -> list[list[Row]]:
        """The batches of an epoch, in random order. All have `size` rows, except one that may have fewer.

        With `length`, the rows of every POOL batches are sorted by length, so that a batch holds rows of similar
        length.
        """
        draw = np.random.default_rng(seed)
        rows = [source.rows[number] for source in self.sources for number in _drawn(source, draw)]
        order = draw.permutation(len(rows)).tolist()
        if length is None:
            return _cut([rows[number] for number in order], size)
        lengths = [length(row) for row in rows]
        pools = _cut(order, POOL * size)
        batches = [batch for pool in pools for batch in _cut(sorted(pool, key=lengths.__getitem__), size)]
        return [[rows[number] for number in batches[place]] for place in draw.permutation(len(batches)).tolist()]


def _drawn(source: Source[Any], draw: np.random.Generator) -> list[int]:
    """The indexes of the rows that an epoch uses: each row as often as the weight's whole part, the rest at random."""
    every, rest = divmod(source.rows_per_epoch, len(source.rows))
    return [*(list(range(len(source.rows))) * every), *draw.permutation(len(source.rows))[:rest].tolist()]


def _cut(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
