"""A terminal as a screen: keys come in one by one, lines are drawn in place, and all is put back at the end."""

import asyncio
import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import terminal_size
from shutil import get_terminal_size

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # another screen, no cursor, no wrapping
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
KEYS = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "k": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "j": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[1~": "home",
    "g": "home",
    "\x1b[F": "end",
    "\x1b[4~": "end",
    "G": "end",
    "\r": "enter",
    "\n": "enter",
    "\x1b[C": "enter",
    "\x1b": "back",
    "\x7f": "back",
    "\x1b[D": "back",
    "q": "quit",
    "\x03": "quit",
    "\x04": "quit",
}


class Terminal:
    """Standard input and output. `keys` holds the names of the keys pressed, "resize" where the window changed."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._drawn: list[str] = []

    @property
    def size(self) -> terminal_size:
        """Columns and lines."""
        return get_terminal_size()

    @contextmanager
    def taken(self) -> Iterator["Terminal"]:
        """Take the terminal over while the block runs."""
        loop, source = asyncio.get_running_loop(), sys.stdin.fileno()
        before = termios.tcgetattr(source)
        tty.setcbreak(source)
        loop.add_reader(source, self._read, source)
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        sys.stdout.write(ENTER)
        sys.stdout.flush()
        try:
            yield self
        finally:
            loop.remove_reader(source)
            loop.remove_signal_handler(signal.SIGWINCH)
            termios.tcsetattr(source, termios.TCSADRAIN, before)
            sys.stdout.write(LEAVE)
            sys.stdout.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines; only those that changed are written."""
        out = []
        for at, line in enumerate(lines):
            if at >= len(self._drawn) or self._drawn[at] != line:
                out.append(f"\x1b[{at + 1};1H{line}\x1b[0m\x1b[K")
        if len(self._drawn) > len(lines):
            out.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self._drawn = list(lines)
        sys.stdout.write("".join(out))
        sys.stdout.flush()

    def _resized(self) -> None:
        self._drawn = []
        sys.stdout.write("\x1b[2J")
        self.keys.put_nowait("resize")

    def _read(self, source: int) -> None:
        data = os.read(source, 1024)
        if not data:
            self.keys.put_nowait("quit")
        for key in keys(self._decoder.decode(data)):
            self.keys.put_nowait(key)


def keys(text: str) -> Iterator[str]:
    """The names of the keys in what a terminal sent at once; what is not known is left out."""
    at = 0
    while at < len(text):
        for length in (4, 3, 1):
            name = KEYS.get(text[at : at + length])
            if name is not None and len(text) - at >= length:
                # An escape sequence that is not known is no press of Escape.
                if name == "back" and text[at] == "\x1b" and text[at + 1 : at + 2] in ("[", "O"):
                    continue
                yield name
                at += length
                break
        else:
            at += _unknown(text[at:])


def _unknown(text: str) -> int:
    """How many characters the unknown key at the beginning takes."""
    if not text.startswith(("\x1b[", "\x1bO")):
        return 1
    length = 2
    while length < len(text) and not ("@" <= text[length] <= "~"):
        length += 1
    return length + 1
