"""The span extractor: start and end logits of a question-answering model, searched for the best spans."""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from transformers import AutoModelForQuestionAnswering

import pipelines.gated_conv  # noqa: F401  registers the architecture
from pipelines.checkpoints.loading import load_transformers
from pipelines.engines.settings import EngineSettings
from pipelines.engines.torch_engine import TorchEngine
from pipelines.qa.spans import best_spans
from pipelines.qa.windows import WindowSettings
from pipelines.tokens import TokenBatch


class Extractor:
    """A question-answering model over windows."""

    def __init__(self, engine: TorchEngine, *, max_answer_length: int, spans_per_window: int) -> None:
        self._engine = engine
        self._max_answer_length = max_answer_length
        self._count = spans_per_window
        self.engine = engine.name

    def run(self, batch: TokenBatch) -> NDArray[np.void]:
        """(windows, 1 + spans_per_window) of `SPAN`: the null span, then the best ones (`best_spans`)."""
        if batch.regions is None:
            raise ValueError("an extractor needs windows with regions")
        start, end = self._engine.outputs(batch, "start_logits", "end_logits")
        return best_spans(start, end, batch.regions, max_answer_length=self._max_answer_length, count=self._count)

    def limited(self, max_answer_length: int) -> Self:
        """The same model with another longest answer, in tokens."""
        return type(self)(self._engine, max_answer_length=max_answer_length, spans_per_window=self._count)


def load(folder: Path, settings: EngineSettings, *, spans_per_window: int = 5) -> Extractor:
    """The model of a verified checkpoint, with the default limits of its task.

    Raises CheckpointDamaged where files do not fit each other.
    """
    model = load_transformers(AutoModelForQuestionAnswering, folder)
    engine = TorchEngine(model, settings, pad_id=model.config.pad_token_id or 0)
    longest = WindowSettings().max_answer_length
    return Extractor(engine, max_answer_length=longest, spans_per_window=spans_per_window)
