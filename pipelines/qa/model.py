"""The span extractor: it searches the start and end logits of a question-answering model for the best spans."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.qa.spans import SPAN, best_spans
from pipelines.text.token_batch import TokenBatch

SPANS_PER_WINDOW = 5


class Extractor:
    """A question-answering model that reads windows."""

    def __init__(self, engine: Engine, *, max_answer_length: int, spans_per_window: int) -> None:
        self.engine = engine
        self._max_answer_length = max_answer_length
        self._count = spans_per_window

    def run(self, batch: TokenBatch) -> NDArray[np.void]:
        """Spans (windows, 2 + spans_per_window) of dtype `SPAN`: the null span, the best ones, and the sum of all."""
        if batch.regions is None:
            raise ValueError("an extractor needs windows with regions")
        start, end = self.engine.outputs(batch, "start_logits", "end_logits")
        found = np.empty((len(batch), 2 + self._count), dtype=SPAN)
        for length, rows in self._by_length(batch):
            found[rows] = best_spans(
                start[rows], end[rows], batch.regions[rows], max_answer_length=length, count=self._count
            )
        return found

    def _by_length(self, batch: TokenBatch) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
        """The windows of each longest answer; that of the settings, if the windows name none."""
        lengths = [] if batch.longest is None else np.unique(batch.longest).tolist()
        if len(lengths) <= 1:
            yield (lengths or [self._max_answer_length])[0], slice(None)
            return
        for length in lengths:
            yield length, batch.longest == length

    def limited(self, max_answer_length: int) -> Self:
        """The same model with another limit for the length of an answer, in tokens."""
        return type(self)(self.engine, max_answer_length=max_answer_length, spans_per_window=self._count)


def load(
    folder: Path, manifest: Manifest, settings: EngineSettings, *, spans_per_window: int = SPANS_PER_WINDOW
) -> Extractor:
    """The model of a verified checkpoint, with the answer length of its manifest. Raises as `load_engine`."""
    longest = manifest.windows_with().max_answer_length
    engine = load_engine(folder, manifest, settings)
    return Extractor(engine, max_answer_length=longest, spans_per_window=spans_per_window)
