"""Show how far a run is: a bar in a terminal, a line every 30 seconds elsewhere."""

import time
from collections.abc import Callable

from tqdm import tqdm

LINE_EVERY_S = 30.0


class Progress:
    """Counts the rows of a run. The rate and the time left are those since the first rows of this process were done.

    say    writes a line
    clock  gives the time in seconds
    """

    def __init__(
        self,
        name: str,
        total: int,
        done: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._total, self._before, self._say, self._clock = name, total, done, say, clock
        self._first: tuple[float, int] | None = None
        self._last_line_s = clock()
        self._bar = tqdm(total=total, initial=done, desc=name, unit="row", leave=False, disable=None)

    def update(self, done: int, set_aside: int) -> None:
        """Show that this process has done this number of rows, and how many of them it set aside."""
        now = self._clock()
        if self._first is None and done:
            self._first = (now, done)
        if not self._bar.disable:
            self._bar.update(self._before + done - self._bar.n)
        elif now - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now
            self._say(self._line(done, set_aside, now))

    def end(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _line(self, done: int, set_aside: int, now: float) -> str:
        text = f"{self._name}: {self._before + done:,} of {self._total:,} rows"
        then, first = self._first or (now, 0)
        if now > then and done > first:
            rate = (done - first) / (now - then)
            left = tqdm.format_interval((self._total - self._before - done) / rate)
            text += f", {rate:,.1f} rows/s, {left} left"
        return f"{text}, {set_aside:,} set aside" if set_aside else text
