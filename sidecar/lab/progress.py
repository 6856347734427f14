"""Progress of a replay: drawn in place on a terminal, told in plain lines now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from sidecar.lab.style import Style, count, duration

DRAW_EVERY = 0.1  # seconds, on a terminal
TELL_EVERY = 5.0  # seconds, elsewhere
WIDTH = 30


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counts steps and recordings, and shows how far they are, under the lines of `board` where it can draw."""

    stream: TextIO
    style: Style
    steps: int
    recordings: int
    board: Callable[[], list[str]] = list
    done_steps: int = 0
    done_recordings: int = 0
    _began: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _drawn: int = 0

    def step(self) -> None:
        """Count a step."""
        self.done_steps += 1
        self._show()

    def finish(self) -> None:
        """Count a recording that is at its end."""
        self.done_recordings += 1
        self._show()

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Show progress while the block runs, and leave a clean line behind."""
        try:
            yield self
        finally:
            if self.style.live:
                self._draw([])
            self._tell()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown < (DRAW_EVERY if self.style.live else TELL_EVERY):
            return
        self._shown = now
        if not self.style.live:
            self._tell()
            return
        ratio = self.done_steps / max(self.steps, 1)
        self._draw([*self.board(), f"{self.style.bar(ratio, WIDTH)} {100 * ratio:3.0f} %  {self._line()}"])

    def _draw(self, lines: list[str]) -> None:
        """Draw lines over those drawn before."""
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self.stream.write(f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in lines))
        self.stream.flush()
        self._drawn = len(lines)

    def _tell(self) -> None:
        self.stream.write(f"{self._line()}\n")
        self.stream.flush()

    def _line(self) -> str:
        elapsed = time.monotonic() - self._began
        return (
            f"{self.done_steps:,} of {count(self.steps, 'step')}, "
            f"{self.done_recordings:,} of {count(self.recordings, 'recording')}, {duration(elapsed)}"
        )
