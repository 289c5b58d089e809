"""Fine-tuning for QA: a pretrained encoder that predicts the first and last token of the answer.

The windows, the search for spans and their ranking are the same as in serving.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering

from pipelines.checkpoints.limits import longest_input
from pipelines.checkpoints.tokenizers import gives_types
from pipelines.engines.torch_engine import PaddedArrays
from pipelines.errors import CheckpointUnsupported
from pipelines.format.windows import WindowSettings
from pipelines.qa.data import Example
from pipelines.qa.model import SPANS_PER_WINDOW
from pipelines.qa.spans import SPAN, best_spans, rank
from pipelines.qa.windows import WindowMaker
from pipelines.text.token_batch import TokenBatch
from pipelines.training.base import Base
from pipelines.training.learner import Figures
from pipelines.training.qa.features import Feature, label
from pipelines.training.qa.no_answer import figures

PREDICTED_AT_ONCE = 64
NO_SPANS = np.empty((0, 2 + SPANS_PER_WINDOW), dtype=SPAN)


class QaLearner:
    """Trains on the windows of `Example`s; its predictions are answers, each with the summed loss of its windows."""

    def __init__(self, model: Any, tokenizer: Any, windows: WindowSettings) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._settings = windows
        self._arrays = PaddedArrays(model, model.config.pad_token_id or 0, token_types=gives_types(tokenizer))
        whole = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # a copy, since the saved one may cut texts
        whole.no_truncation()
        whole.no_padding()
        self._make = WindowMaker(whole, windows)

    @classmethod
    def load(cls, base: Base, windows: WindowSettings) -> "QaLearner":
        """Put a new head on the base. Raises as `Base.load`, and CheckpointUnsupported if its input is too short."""
        model, tokenizer = base.load(AutoModelForQuestionAnswering)
        if not tokenizer.is_fast:
            raise CheckpointUnsupported(base.name, "its tokenizer has no fast form")
        longest = longest_input(model, tokenizer, windows.max_seq_length)
        if longest is not None and longest < windows.max_seq_length:
            raise CheckpointUnsupported(
                base.name, f"reads {longest} tokens, less than windows of {windows.max_seq_length}"
            )
        return cls(model, tokenizer, windows)

    def unfold(self, rows: Sequence[Example]) -> list[Feature]:
        """All windows. Those without the answer are labelled with the first token, the position of the null span."""
        return label(rows, self._make).features

    def loss(self, model: nn.Module, rows: Sequence[Feature]) -> Tensor:
        """The mean cross-entropy of the answer's first and last token, over the context tokens and the first token."""
        return self._losses(*self._logits(model, rows), rows).mean()

    def length(self, row: Feature) -> int:
        """The length in tokens."""
        return int(row.labelled.windows.tokens.lengths[row.number])

    def predict(self, rows: Sequence[Example]) -> list[Any]:
        """(answer, summed loss of its windows) of each question; the answer is its best span, if it has one."""
        labelled = label(rows, self._make)
        features = labelled.features
        cuts = [features[at : at + PREDICTED_AT_ONCE] for at in range(0, len(features), PREDICTED_AT_ONCE)]
        spans, losses = zip((NO_SPANS, np.empty(0)), *map(self._predict, cuts), strict=True)
        contexts = [row.context for row in rows]
        answers = rank(contexts, labelled.windows, np.concatenate(spans), null_threshold=None)
        totals = np.bincount(labelled.windows.request, np.concatenate(losses), len(rows))
        return list(zip(answers, totals.tolist(), strict=True))

    def measure(self, rows: Sequence[Example], predictions: Sequence[Any]) -> Figures:
        """The figures of `no_answer.figures`, and the mean loss over all windows."""
        answers, losses = zip(*predictions, strict=True)
        windows = sum(answer.windows for answer in answers)
        return {**figures(rows, answers), "loss": sum(losses) / windows}

    @staticmethod
    def sort_key(figures: Figures) -> tuple[float, ...]:
        """The lowest loss on the dev rows is the best."""
        return (-figures["loss"],)

    def save(self, folder: Path) -> None:
        """Save model and tokenizer in the format of transformers."""
        self.model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def _predict(self, rows: Sequence[Feature]) -> tuple[NDArray[np.void], NDArray[np.float32]]:
        """The spans (windows, 1 + SPANS_PER_WINDOW) and losses (windows,) of windows."""
        start, end = self._logits(self.model, rows)
        regions = _regions(_batch(rows))
        longest = self._settings.max_answer_length
        spans = best_spans(
            start.cpu().numpy(), end.cpu().numpy(), regions, max_answer_length=longest, count=SPANS_PER_WINDOW
        )
        return spans, self._losses(start, end, rows).cpu().numpy()

    def _logits(self, model: nn.Module, rows: Sequence[Feature]) -> tuple[Tensor, Tensor]:
        """The start and end logits, each (windows, tokens); -inf for tokens that serving ignores."""
        batch = _batch(rows)
        inputs = {name: torch.from_numpy(array) for name, array in self._arrays(batch).items()}
        output = model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        ignored = torch.from_numpy(~_candidates(batch)).to(self.model.device)
        logits = output.start_logits, output.end_logits
        start, end = (values.float().masked_fill(ignored, -torch.inf) for values in logits)
        return start, end

    def _losses(self, start: Tensor, end: Tensor, rows: Sequence[Feature]) -> Tensor:
        """The loss (windows,) of each window."""
        starts, ends = torch.tensor([(row.start, row.end) for row in rows], device=start.device).T
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(start, starts, reduction="none") + cross_entropy(end, ends, reduction="none")) / 2


def _batch(rows: Sequence[Feature]) -> TokenBatch:
    return TokenBatch.take([(row.labelled.windows.tokens, row.number) for row in rows])


def _candidates(batch: TokenBatch) -> NDArray[np.bool_]:
    """A mask (windows, tokens): True for context tokens, and for the first token, which means "no answer"."""
    position = np.arange(batch.mask.shape[1])
    regions = _regions(batch)
    return np.asarray((position == 0) | ((position >= regions[:, :1]) & (position < regions[:, 1:])))


def _regions(batch: TokenBatch) -> NDArray[np.int32]:
    if batch.regions is None:
        raise ValueError("windows without regions")
    return batch.regions
