"""What the user sees of a run: a progress bar, and a line for each epoch."""

import sys
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor
from tqdm import tqdm

Tell = Callable[[str, tuple[Any, ...]], None]
"""Takes the name of one of Console's methods and its arguments, wherever the console is."""


class Console:
    """The bar and the lines themselves, in the process that the user started."""

    LINE_EVERY_S = 30

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._text, self._total, self._began_s, self._said_s = "", 0, 0.0, 0.0

    def begin(self, text: str, total: int) -> None:
        """A bar in the place of the last; where standard error is no terminal, lines now and then."""
        self.end()
        self._text, self._total = text, total
        self._began_s = self._said_s = time.monotonic()
        self._bar = tqdm(total=total, desc=text, unit="step", leave=False, disable=None)

    def at(self, done: int, loss: float | None = None) -> None:
        """So many of the bar's steps are over, the last with this loss."""
        if self._bar is None:
            return
        if not self._bar.disable:
            self._bar.set_postfix({} if loss is None else {"loss": f"{loss:.4f}"}, refresh=False)
            self._bar.update(done - self._bar.n)
        elif done and time.monotonic() - self._said_s >= self.LINE_EVERY_S:
            self._said_s = time.monotonic()
            left_s = (self._said_s - self._began_s) * (self._total - done) / done
            words = "" if loss is None else f", loss {loss:.4f}"
            self.say(f"{self._text}: step {done} of {self._total}{words}, {tqdm.format_interval(left_s)} left")

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


class DistantProgress:
    """The bar as the process sees that makes the steps: it tells a distant console, not too often."""

    EVERY_S = 0.2

    def __init__(self, tell: Tell, total: int, text: str) -> None:
        self._tell, self._done, self._told_s = tell, 0, time.monotonic()
        tell("begin", (text, total))

    def step(self, loss: Tensor) -> None:
        """One more is done, with this loss (a scalar)."""
        self._done += 1
        if time.monotonic() - self._told_s >= self.EVERY_S:
            self._told_s = time.monotonic()
            self._tell("at", (self._done, float(loss)))

    def close(self) -> None:
        """Nothing more will come."""
        self._tell("end", ())


def silent(_method: str, _arguments: tuple[Any, ...]) -> None:
    """A console that nobody sees, for all processes but the first."""
