"""The interface of an engine, which runs the forward pass of one checkpoint."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.text.token_batch import TokenBatch


class Engine(Protocol):
    """Computes float32 arrays from ragged tokens. An item's result does not depend on the rest of its batch.

    name          description for people: backend, dtype and device
    slots         number of threads that may call `outputs` at once
    padding_cost  time of a token of padding, relative to that of any other token
    """

    name: str
    slots: int
    padding_cost: float

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """The named outputs, which must be among those that `KIND_SPECS` has for the checkpoint's kind.

        sentence_embedding        (items, dimensions), of unit length
        logits                    (items, classes)
        start_logits, end_logits  (items, longest); values after the end of an item are undefined
        """
