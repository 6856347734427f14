"""How old things are, on a clock that may be set while we run.

Sessions end, and are forgotten, by the server's clock. If that leaps forward (a wrong time server, a machine that began
in 1970), every session would be found old at once: closed, and then forgotten. So the leap is measured against a clock
that nobody sets. Sessions in memory are as old as before, and what is forgotten for ever is old by both clocks. A clock
that is wrong from the start is believed: a long rest looks the same.
"""

import time
from collections.abc import Callable

TOLERANCE = 60.0  # seconds: below, a clock is corrected rather than set

Clock = Callable[[], float]


def unset() -> float:
    """Seconds since some moment, on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Ages:
    """Watches the server's clock by a steady one. Without that (None) the clock is believed, whatever it says."""

    def __init__(self, clock: Clock, steady: Clock | None) -> None:
        self._clock = clock
        self._steady = steady or clock
        self._begun = self._offset = self._clock() - self._steady()

    def leapt(self) -> float:
        """By how many seconds the clock was set forward since this was asked last; 0 if it was not."""
        offset = self._clock() - self._steady()
        leap, self._offset = offset - self._offset, offset
        return leap if leap > TOLERANCE else 0.0

    def now(self) -> float:
        """The earlier of what the clock says, and what it would say had nobody set it."""
        return min(self._clock(), self._begun + self._steady())
