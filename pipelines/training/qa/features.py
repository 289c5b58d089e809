"""Labelled windows to train the extractor on. The code that makes windows for serving makes them, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.data import Example
from pipelines.qa.windows import WindowMaker, Windows
from pipelines.text.token_batch import CheckpointRef

UNTRAINED = CheckpointRef("training", "extractor", None)


@dataclass(frozen=True)
class LabelledWindows:
    """The windows of several examples, in order, with the position of the answer in each.

    starts, ends  (windows,) positions of the answer's first and last token in the window; 0 if the window does not
                  hold the whole answer
    """

    windows: Windows
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def features(self) -> list["Feature"]:
        """The single windows, in order."""
        return [Feature(self, number) for number in range(len(self.windows.tokens))]


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One of several labelled windows."""

    labelled: LabelledWindows
    number: int

    @property
    def start(self) -> int:
        """Its value of `LabelledWindows.starts`."""
        return int(self.labelled.starts[self.number])

    @property
    def end(self) -> int:
        """Its value of `LabelledWindows.ends`."""
        return int(self.labelled.ends[self.number])


def label(examples: Sequence[Example], make: WindowMaker) -> LabelledWindows:
    """Make the windows of the examples and label them."""
    windows = make([(example.question, example.context) for example in examples], UNTRAINED)
    bounds = np.searchsorted(windows.request, np.arange(len(examples) + 1)).tolist()
    spans = [_positions(windows, slice(*own), one) for one, own in zip(examples, pairwise(bounds), strict=True)]
    starts, ends = np.concatenate([np.empty((0, 2), dtype=np.int64), *spans]).T
    return LabelledWindows(windows, starts, ends)


def _positions(windows: Windows, own: slice, example: Example) -> NDArray[np.int64]:
    """Positions (windows of the example, 2) of the answer's first and last token; 0 if the answer is not whole."""
    if windows.tokens.regions is None:
        raise ValueError("windows without regions")
    low, high = windows.tokens.regions[own].T.astype(np.int64)
    first = windows.first[own].astype(np.int64)
    behind = first + high - low
    begin, end = first.min(initial=len(windows.offsets)), behind.max(initial=0)
    offsets = windows.offsets[begin:end]  # of the whole context
    inside = begin + np.flatnonzero((offsets[:, 1] > example.start) & (offsets[:, 0] < example.end))
    if not len(inside):
        return np.zeros((len(first), 2), dtype=np.int64)
    whole = (first <= inside[0]) & (inside[-1] < behind)
    return np.where(whole[:, None], (low - first)[:, None] + inside[[0, -1]], 0)
