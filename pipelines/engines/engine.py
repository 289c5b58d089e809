"""What an engine is: something that runs the forward pass of one checkpoint."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.format.manifest import Kind
from pipelines.text.token_batch import TokenBatch

OUTPUTS: dict[Kind, tuple[str, ...]] = {
    "bi-encoder": ("sentence_embedding",),
    "cross-encoder": ("logits",),
    "classifier": ("logits",),
    "extractor": ("start_logits", "end_logits"),
}


class Engine(Protocol):
    """Ragged tokens in, float32 arrays out. An item's result does not depend on the rest of its batch.

    name   for people: backend, dtype and device
    slots  how many threads may call `outputs` at once
    """

    name: str
    slots: int

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """The named ones of the `OUTPUTS` of the checkpoint's kind, each with `items` as first axis.

        sentence_embedding (items, dimensions), of unit length; logits (items, classes); start_logits and end_logits
        (items, longest), where what stands behind an item's end means nothing.
        """
