"""Answers of a QA checkpoint to whole contexts, by the very code that serves them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipelines.checkpoints.manifest import Manifest
from pipelines.engines.settings import EngineSettings
from pipelines.qa.data import Example
from pipelines.qa.model import load
from pipelines.qa.spans import rank
from pipelines.tokenization import WindowTokenizer
from pipelines.tokens import TokenBatch

BATCH = 32


def answers(folder: Path, manifest: Manifest, examples: Sequence[Example]) -> list[str]:
    """One answer per example, with the checkpoint's windows; never the empty one while any span is possible."""
    windows = WindowTokenizer.load(folder, manifest).windows([(e.question, e.context) for e in examples])
    extractor = load(folder, manifest, EngineSettings())
    spans = [
        extractor.run(TokenBatch.gather([(windows.tokens, number) for number in range(start, end)]))
        for start, end in tqdm(_cuts(len(windows.tokens)), desc="qa answers")
    ]
    contexts = [example.context for example in examples]
    ranked = rank(contexts, windows, np.concatenate(spans), null_threshold=None)
    return [answer.text for answer in ranked]


def _cuts(count: int) -> list[tuple[int, int]]:
    """(start, end) of batches that cover `count` windows."""
    return [(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
