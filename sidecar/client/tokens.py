"""How many tokens a text is, where the host does not know: an offline estimate, or any function of a text."""

from collections.abc import Callable
from typing import TypeAlias

Count: TypeAlias = Callable[[str], int]

# English text and code are near 4 characters a token with the tokenizers of today; other scripts are much denser.
ASCII_PER_TOKEN = 4.0
OTHER_PER_TOKEN = 1.25


def estimate(text: str) -> int:
    """Estimate the tokens of a text from its characters; rounded up, so that only no text is none."""
    other = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    return -int(-(len(text) - other) / ASCII_PER_TOKEN // 1) + -int(-other / OTHER_PER_TOKEN // 1)


class Calibration:
    """How many tokens the provider bills for one that was counted, learned from what it billed.

    The largest of the last few calls counts: a window that is thought smaller than it is overflows, one that is thought
    larger is only cleaned up a little early.
    """

    def __init__(self, calls: int = 8) -> None:
        self._ratios: list[float] = []
        self._calls = calls

    def learn(self, *, counted: int, billed: int) -> None:
        """Take in a call: what was counted of its input, and what was billed for it."""
        if counted > 0 and billed > 0:
            self._ratios = [*self._ratios[1 - self._calls :], min(4.0, max(0.25, billed / counted))]

    @property
    def ratio(self) -> float:
        """Billed tokens for a counted one; 1 until something was learned."""
        return max(self._ratios, default=1.0)
