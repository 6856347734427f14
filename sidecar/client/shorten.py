"""Make a text shorter without a model: its beginning and end stay, where headings, errors and results stand."""

from collections.abc import Callable
from typing import TypeAlias

from sidecar.client.tokens import Count

Shorten: TypeAlias = Callable[[str, int, Count], str]

HEAD = 0.6  # of what is kept; the rest is the end
TRIES = 8


def middle_out(text: str, tokens: int, count: Count) -> str:
    """The text with its middle left out, in at most `tokens` tokens; empty where not even the mark fits."""
    before = count(text)
    if before <= tokens:
        return text
    mark = f"\n[... {before - tokens:,} tokens left out here ...]\n"
    room = tokens - count(mark)
    kept = int(len(text) * room / before)
    for _ in range(TRIES):
        if kept <= 0:
            break
        head = int(kept * HEAD)
        shorter = text[:head] + mark + text[len(text) - (kept - head) :]
        if count(shorter) <= tokens:
            return shorter
        kept = int(kept * 0.9)
    return mark.strip() if count(mark.strip()) <= tokens else ""
