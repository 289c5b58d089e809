"""Labelled windows: what the extractor is trained on, made by the same code that makes windows for serving."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.qa.data import Example
from pipelines.qa.windows import WindowMaker, Windows
from pipelines.tokens import CheckpointRef

UNTRAINED = CheckpointRef("training", "extractor", None)


@dataclass(frozen=True)
class LabelledWindows:
    """Windows of several examples, in order, and where each holds its example's answer.

    starts, ends  (windows,) positions in the window of the answer's first and last token; 0 where it is not inside
    """

    windows: Windows
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def features(self) -> list["Feature"]:
        """Each window for itself, in order."""
        return [Feature(self, number) for number in range(len(self.windows.tokens))]

    def draw(self, batch: int, random_share: float, draw: np.random.Generator) -> NDArray[np.int64]:
        """(batch,) windows of random examples: ones with the answer, or in a `random_share` of draws any."""
        bounds = np.searchsorted(self.windows.request, np.arange(self.windows.request.max() + 2))
        return np.array([self._one(bounds, random_share, draw) for _ in range(batch)], dtype=np.int64)

    def _one(self, bounds: NDArray[np.int64], random_share: float, draw: np.random.Generator) -> int:
        example = draw.integers(len(bounds) - 1)
        own = np.arange(bounds[example], bounds[example + 1])
        answering = own[self.starts[own] > 0]
        anywhere = draw.random() < random_share or not len(answering)
        return int(draw.choice(own if anywhere else answering))


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One of the windows."""

    labelled: LabelledWindows
    number: int

    @property
    def start(self) -> int:
        """As among the windows' `starts`."""
        return int(self.labelled.starts[self.number])

    @property
    def end(self) -> int:
        """As among the windows' `ends`."""
        return int(self.labelled.ends[self.number])


def label(examples: Sequence[Example], make: WindowMaker) -> LabelledWindows:
    """The windows of the examples, labelled."""
    windows = make([(example.question, example.context) for example in examples], UNTRAINED)
    spans = [_positions(windows, number, examples[request]) for number, request in enumerate(windows.request)]
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    return LabelledWindows(windows, starts, ends)


def _positions(windows: Windows, number: int, example: Example) -> tuple[int, int]:
    """Token positions of the answer in one window, both inside the answer; (0, 0) where the window cuts it off."""
    if windows.tokens.regions is None:
        raise ValueError("windows without regions")
    low, high = windows.tokens.regions[number]
    first = windows.first[number]
    offsets = windows.offsets[first : first + high - low]
    inside = np.flatnonzero((offsets[:, 1] > example.start) & (offsets[:, 0] < example.end))
    whole = len(inside) > 0 and offsets[0, 0] <= example.start and offsets[-1, 1] >= example.end
    return (int(low + inside[0]), int(low + inside[-1])) if whole else (0, 0)
