"""Progress output for the user: a progress bar, and a line for each epoch."""

import sys
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor
from tqdm import tqdm

Tell = Callable[[str, tuple[Any, ...]], None]
"""Calls a method of the Console, which may be in another process; takes the method's name and its arguments."""


class Console:
    """Writes the bar and the lines. It lives in the process that the user started."""

    LINE_EVERY_S = 30

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._text, self._total, self._began_s, self._last_line_s = "", 0, 0.0, 0.0

    def begin(self, text: str, total: int) -> None:
        """Replace the bar by a new one. If standard error is not a terminal, write a line every 30 seconds instead."""
        self.end()
        self._text, self._total = text, total
        self._began_s = self._last_line_s = time.monotonic()
        self._bar = tqdm(total=total, desc=text, unit="step", leave=False, disable=None)

    def update(self, done: int, loss: float | None = None) -> None:
        """Show that `done` steps are complete, and the loss of the last one."""
        if self._bar is None:
            return
        if not self._bar.disable:
            self._bar.set_postfix({} if loss is None else {"loss": f"{loss:.4f}"}, refresh=False)
            self._bar.update(done - self._bar.n)
        elif done and time.monotonic() - self._last_line_s >= self.LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            left_s = (self._last_line_s - self._began_s) * (self._total - done) / done
            loss_text = "" if loss is None else f", loss {loss:.4f}"
            self.say(f"{self._text}: step {done} of {self._total}{loss_text}, {tqdm.format_interval(left_s)} left")

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


class DistantProgress:
    """Sends the progress of an epoch from a worker to the console in another process, at most every 0.2 seconds."""

    EVERY_S = 0.2

    def __init__(self, tell: Tell, total: int, text: str) -> None:
        self._tell, self._done, self._last_sent_s = tell, 0, time.monotonic()
        tell("begin", (text, total))

    def step(self, loss: Tensor) -> None:
        """Count a step and send its loss (a scalar)."""
        self._done += 1
        if time.monotonic() - self._last_sent_s >= self.EVERY_S:
            self._last_sent_s = time.monotonic()
            self._tell("update", (self._done, float(loss)))

    def close(self) -> None:
        """Remove the bar."""
        self._tell("end", ())


def silent(_method: str, _arguments: tuple[Any, ...]) -> None:
    """A `Tell` that discards all calls, for every process but the first."""
