"""The span extractor: it searches the start and end logits of a question-answering model for the best spans."""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.manifest import Manifest
from pipelines.qa.spans import best_spans
from pipelines.text.token_batch import TokenBatch

SPANS_PER_WINDOW = 5


class Extractor:
    """A question-answering model that reads windows."""

    def __init__(self, engine: Engine, *, max_answer_length: int, spans_per_window: int) -> None:
        self.engine = engine
        self._max_answer_length = max_answer_length
        self._count = spans_per_window

    def run(self, batch: TokenBatch) -> NDArray[np.void]:
        """Spans (windows, 1 + spans_per_window) of dtype `SPAN`: the null span, then the best ones."""
        if batch.regions is None:
            raise ValueError("an extractor needs windows with regions")
        start, end = self.engine.outputs(batch, "start_logits", "end_logits")
        return best_spans(start, end, batch.regions, max_answer_length=self._max_answer_length, count=self._count)

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
