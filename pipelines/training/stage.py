"""What a run learns from: one stage or several in turn, each of one source of rows or several mixed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from pipelines.text.rows import Row

POOL = 16
"""Batches that are sorted by length together: enough to leave little padding, few enough to leave chance its part."""


@dataclass(frozen=True)
class Source(Generic[Row]):
    """Rows by the name that the user gave, and how often an epoch takes each.

    weight  1: once; 0.5: a half of them, drawn anew in every epoch; 2: twice
    """

    rows: Sequence[Row]
    name: str = ""
    weight: float = 1.0

    @property
    def taken(self) -> int:
        """Rows of an epoch, at least one."""
        return max(1, round(self.weight * len(self.rows)))


@dataclass(frozen=True)
class Stage(Generic[Row]):
    """Sources that are mixed in every batch."""

    sources: Sequence[Source[Row]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Stage[Row]":
        """All rows, once in every epoch."""
        return cls([Source(rows)])

    @property
    def taken(self) -> int:
        """Rows of an epoch."""
        return sum(source.taken for source in self.sources)

    def map(self, change: Callable[[Sequence[Row]], Sequence[Any]]) -> "Stage[Any]":
        """The stage with what `change` makes of each source's rows."""
        return Stage([Source(change(source.rows), source.name, source.weight) for source in self.sources])

    def batches(self, size: int, seed: Sequence[int], length: Callable[[Row], int] | None) -> list[list[Row]]:
        """An epoch in batches of `size`, of which only the last to be cut may be smaller.

        With `length`, rows of like length stand together: those of POOL batches are sorted, and the batches shuffled.
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
    """TokenIds of the rows that an epoch takes: all as often as the weight says in full, the rest by chance."""
    every, rest = divmod(source.taken, len(source.rows))
    return [*(list(range(len(source.rows))) * every), *draw.permutation(len(source.rows))[:rest].tolist()]


def _cut(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
