"""Run an item that is alone in a replica on all threads of the replica, where that is faster."""

import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from statistics import median
from typing import Any, TypeAlias

from numpy.typing import NDArray

from pipelines.text.token_batch import TokenBatch

logger = logging.getLogger("ray.serve")

Run: TypeAlias = Callable[[TokenBatch], NDArray[Any]]

KEPT = 5  # last times of each size and way, of which the median counts
FIRST = 3  # times of each way before one is chosen
TRIED_EVERY = 16  # runs of a size, of which one is run in the slower way, to learn whether it still is


class LoneRun:
    """The model on all threads, and the times that lone items took on one thread and on all of them.

    All threads are faster for long items, slower for short ones, and of no use while other processes need the cores. So
    both ways are tried. Items of 2^n to 2^(n + 1) - 1 tokens are of one size; their times count per token.

    load  returns the function that runs a batch on all threads. A thread of its own calls it once, when the first item
          is alone, so that neither the start of a replica nor this item waits. If it fails, the log has the reason,
          and all items run on one thread.
    name  the checkpoint and the engine, for the log
    """

    def __init__(self, load: Callable[[], Run], name: str = "the model") -> None:
        self._load = load
        self._name = name
        self._loader: threading.Thread | None = None
        self._times: defaultdict[tuple[int, bool], deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._choices = Counter[int]()
        self._run: Run | None = None

    def chooses(self, tokens: int) -> bool:
        """Whether the next lone item, which has so many tokens, is to run on all threads."""
        if self._loader is None:
            self._loader = threading.Thread(target=self._set_run, name="load lone model", daemon=True)
            self._loader.start()
        if self._run is None:
            return False
        one, every = self._ways(tokens)
        if min(len(one), len(every)) < FIRST:
            return len(every) < len(one)
        self._choices[tokens.bit_length()] += 1
        tries_the_slower = self._choices[tokens.bit_length()] % TRIED_EVERY == 0
        return (median(every) < median(one)) != tries_the_slower

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        """Run a batch on all threads, as `chooses` has said. Raises RuntimeError if the model isn't loaded for them."""
        if self._run is None:
            raise RuntimeError("the model is not loaded for all threads")
        return self._run(batch)

    def give_up(self, error: Exception) -> None:
        """Run no more items on all threads, because one has failed there. The log has the error's type."""
        self._run = None
        logger.error("%s failed with %s on all threads: items run on one from now on", self._name, type(error).__name__)

    def learn(self, tokens: int, seconds: float, *, all_threads: bool) -> None:
        """Add that a lone item of so many tokens took `seconds`, on all threads or on one."""
        self._ways(tokens)[all_threads].append(seconds / max(tokens, 1))

    def _ways(self, tokens: int) -> tuple[deque[float], deque[float]]:
        """The times on one thread and on all threads."""
        size = tokens.bit_length()
        return self._times[size, False], self._times[size, True]

    def _set_run(self) -> None:
        try:
            self._run = self._load()
        except Exception:
            logger.exception("%s is not loaded again for all threads: items that are alone run on one", self._name)
