"""How the lab writes to a terminal: in colours where there is one, with bars as fine as its characters allow."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TextIO

EIGHTHS = " ▏▎▍▌▋▊▉"
COLOURS = {
    "bold": "1",
    "dim": "2",
    "low": "32",
    "moderate": "36",
    "high": "33",
    "critical": "31",
    "system_context": "34",
    "working_memory": "32",
    "knowledge_base": "35",
    "agent_context": "33",
    "interaction_buffer": "36",
}

LETTERS = {  # where there are no colours
    "system_context": "s",
    "working_memory": "m",
    "knowledge_base": "k",
    "agent_context": "a",
    "interaction_buffer": "t",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the terminal can show. `live`: lines may be drawn again in place."""

    colour: bool = False
    blocks: bool = False
    live: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Find out what a stream can show; NO_COLOR and TERM=dumb are respected."""
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        try:
            "█▏┊…".encode(stream.encoding or "ascii")
            blocks = True
        except (LookupError, UnicodeEncodeError):
            blocks = False
        return cls(colour=terminal and not os.environ.get("NO_COLOR"), blocks=blocks, live=terminal)

    def paint(self, text: str, name: str) -> str:
        """Colour a text by the name of a status or a component, or make it bold or dim."""
        return f"\x1b[{COLOURS[name]}m{text}\x1b[0m" if self.colour else text

    def bar(self, ratio: float, width: int, *, mark: float | None = None) -> str:
        """Draw a ratio as a bar of `width` characters, with a mark where it should stay below; over 1 it is full."""
        eighths = round(min(max(ratio, 0.0), 1.0) * width * 8)
        full, rest = divmod(eighths, 8)
        filled, empty, tick = ("█", "░", "┊") if self.blocks else ("#", ".", "|")
        cells = list(filled * full + empty * (width - full))
        if rest and full < width:
            cells[full] = EIGHTHS[rest] if self.blocks else cells[full]
        if mark is not None and full <= (at := min(int(mark * width), width - 1)):
            cells[at] = tick
        return "".join(cells)

    def stack(self, ratios: Mapping[str, float], width: int) -> str:
        """Draw what fills a whole as one bar of `width` characters, a stretch like its `key` for each part."""
        empty = "░" if self.blocks else "."
        drawn, at, upto = "", 0, 0.0
        for name, ratio in ratios.items():
            upto += ratio
            end = min(round(upto * width), width)  # rounding where each ends, so that the sum is right
            drawn += self.key(name, end - at) if end > at else ""
            at = max(at, end)
        return drawn + empty * (width - at)

    def key(self, name: str, length: int = 1) -> str:
        """What a part of a stack is drawn with: its colour, or where there is none its letter."""
        if not self.colour:
            return LETTERS.get(name, "#") * length
        return self.paint(("█" if self.blocks else "#") * length, name)


def width_of(stream: TextIO) -> int:
    """How many columns a stream has; one that is no terminal has as many as are asked for."""
    return get_terminal_size().columns if stream.isatty() else sys.maxsize


def cut(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Shorten a text to a width, its end kept: names differ there."""
    return text if len(text) <= width else ellipsis + text[-(width - len(ellipsis)) :]


def duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    seconds = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"


def count(number: int, noun: str, many: str = "") -> str:
    """Write a number with its noun; `many`: that of several, where it is not made with an s."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
