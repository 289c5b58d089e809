"""An engine for models whose results depend on padding, such as ConvBERT and FNet: no item of a batch is padded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.engine import Engine
from pipelines.text.token_batch import TokenBatch


class EqualLengths:
    """Runs the items of a batch in groups of equal length, one group after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = f"{engine.name}, without padding"
        self.slots = engine.slots
        self.padding_cost = engine.padding_cost

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        groups = [np.flatnonzero(batch.lengths == length) for length in np.unique(batch.lengths)]
        made = [self._engine.outputs(batch.select(items), *names) for items in groups]
        return tuple(_in_order(groups, arrays) for arrays in zip(*made, strict=True))


def _in_order(groups: Sequence[NDArray[np.intp]], arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One array (items, widest) with the rows of all groups at the indices of the groups' items; gaps are zeros."""
    widest = max(array.shape[1] for array in arrays)
    whole = np.zeros((sum(map(len, groups)), widest), dtype=np.float32)
    for items, array in zip(groups, arrays, strict=True):
        whole[items, : array.shape[1]] = array
    return whole
