"""What the user sees of a run: a progress bar, and a line for each epoch."""

import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Tell = Callable[[str, tuple[Any, ...]], None]
"""Takes the name of one of Console's methods and its arguments, wherever the console is."""


class Console:
    """The bar and the lines themselves, in the process that the user started."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def begin(self, text: str, total: int) -> None:
        """A bar in the place of the last; none where standard error is no terminal."""
        self.end()
        self._bar = tqdm(total=total, desc=text, unit="step", leave=False, disable=None)

    def at(self, done: int) -> None:
        """So many of the bar's steps are over."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


class DistantBar:
    """The bar as the process sees that makes the steps: it tells a distant console, not too often."""

    EVERY_S = 0.2

    def __init__(self, tell: Tell, total: int, desc: str, **_: Any) -> None:
        self._tell, self._done, self._told_s = tell, 0, time.monotonic()
        tell("begin", (desc, total))

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self._done += n
        if time.monotonic() - self._told_s >= self.EVERY_S:
            self._told_s = time.monotonic()
            self._tell("at", (self._done,))

    def close(self) -> None:
        """Nothing more will come."""
        self._tell("end", ())


def silent(_method: str, _arguments: tuple[Any, ...]) -> None:
    """A console that nobody sees, for all processes but the first."""
