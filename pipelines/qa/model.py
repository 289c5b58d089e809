"""The span extractor: it searches the start and end logits of a question-answering model for the best spans."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.qa.spans import SPAN, best_spans
from pipelines.text.token_batch import Int32, TokenBatch

SPANS_PER_WINDOW = 5


class Extractor:
    """A question-answering model that reads windows."""

    def __init__(self, engine: Engine, *, spans_per_window: int) -> None:
        self.engine = engine
        self._count = spans_per_window

    def run(self, batch: TokenBatch) -> NDArray[np.void]:
        """Spans (windows, 2 + spans_per_window) of dtype `SPAN`: the null span, the best ones, and the sum of all."""
        if batch.regions is None or batch.longest is None:
            raise ValueError("an extractor needs windows with regions and longest answers")
        start, end = self.engine.outputs(batch, "start_logits", "end_logits")
        found = np.empty((len(batch), 2 + self._count), dtype=SPAN)
        for length, rows in _by_length(batch.longest):
            found[rows] = best_spans(
                start[rows], end[rows], batch.regions[rows], max_answer_length=length, count=self._count
            )
        return found


def _by_length(longest: Int32) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
    """The windows of each longest answer. With a slice in place of a mask nothing is copied."""
    lengths = np.unique(longest).tolist()
    if len(lengths) == 1:
        yield lengths[0], slice(None)
        return
    for length in lengths:
        yield length, longest == length


def load(
    folder: Path, manifest: Manifest, settings: EngineSettings, *, spans_per_window: int = SPANS_PER_WINDOW
) -> Extractor:
    """The model of a verified checkpoint. Raises as `load_engine`."""
    return Extractor(load_engine(folder, manifest, settings), spans_per_window=spans_per_window)
