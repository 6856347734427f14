"""A line about work under way: drawn in place on a terminal, written once at its end elsewhere."""

import time
from dataclasses import dataclass, field
from typing import TextIO

from sidecar.lab.style import Style, duration

DRAW_EVERY = 0.1  # seconds


@dataclass(slots=True, kw_only=True)
class Line:
    """The line. Where it ends, what was drawn is gone."""

    stream: TextIO
    style: Style
    _began: float = field(default_factory=time.monotonic)
    _drawn: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> str:
        """How long the work has taken, in words."""
        return duration(time.monotonic() - self._began)

    def draw(self, text: str) -> None:
        """Show the text, on a terminal, unless another was drawn just now."""
        now = time.monotonic()
        if self.style.live and now - self._drawn >= DRAW_EVERY:
            self._drawn = now
            self._write(text, end="")

    def end(self, text: str) -> None:
        """Leave the text behind, everywhere."""
        self._write(text, end="\n")

    def _write(self, text: str, *, end: str) -> None:
        self.stream.write(("\r\x1b[K" if self.style.live else "") + text + end)
        self.stream.flush()
