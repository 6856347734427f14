"""The comparison as a picture: one self-contained SVG, light or dark as its reader likes it.

Above, every session's fullest moment under each policy, in the provider's tokens over its limit; below, what each
policy refused, ran in emergency, freed in vain, and cost in prompt cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.scores import Figure, readmitted, total
from sidecar.lab.backtest.table import Outcome, figure

WIDTH, MARGIN, LABEL = 960, 24, 150
ROW, BAR_ROW = 58, 26
TOP = 104  # below title, legend and axis
REACH = 1.75  # the strips go this far over the limit
LIMIT = 1.0

STYLE = """
  svg { --ink: #1f2430; --soft: #6b7280; --line: #d7dae0; --paper: #ffffff; --well: #2f6fdb; --over: #d1432b }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e8ee; --soft: #9aa1ad; --line: #3a404c; --paper: #15181e; --well: #6ea8ff; --over: #ff7a5c }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink) }
  .title { font-size: 17px; font-weight: 600 } .head { font-weight: 600 } .soft { fill: var(--soft); font-size: 12px }
  .line { stroke: var(--line) } .limit { stroke: var(--over); stroke-dasharray: 4 3 }
  .well { fill: var(--well) } .over { fill: var(--over) } .paper { fill: var(--paper) }
  circle { opacity: .55 }
"""


@dataclass(frozen=True, slots=True)
class _Bars:
    title: str
    unit: str
    of: Callable[[Sequence[Measures]], Figure]


BARS = (
    _Bars("Tokens refused", "tokens", total("refused_tokens")),
    _Bars("Emergency cleanups", "count", total("emergencies")),
    _Bars("Freed, then needed again", "percent", readmitted),
    _Bars("Prompt cache lost, in tokens", "tokens", total("cache_lost_tokens")),
)


def plot(outcome: Outcome) -> str:
    """Draw the outcome. The same outcome makes the same bytes."""
    strips = TOP + ROW * len(outcome)
    block = 44 + BAR_ROW * len(outcome)
    height = strips + 30 + (len(BARS) + 1) // 2 * block + MARGIN
    some = next(iter(outcome.values()), [])
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="Policies compared on {len(some)} recorded sessions">'
        ),
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        _text(MARGIN, 34, f"{len(some)} recorded sessions, the same under each policy", "title"),
        _text(MARGIN, 58, "The fullest moment of each window, in provider tokens, as a part of its limit", "soft"),
        *_axis(strips),
    ]
    for at, (name, windows) in enumerate(outcome.items()):
        parts += _strip(name, windows, TOP + ROW * at)
    half = (WIDTH - 2 * MARGIN) // 2
    for at, bars in enumerate(BARS):
        parts += _bars(bars, outcome, MARGIN + half * (at % 2), strips + 44 + block * (at // 2), half - MARGIN)
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(ratio: float) -> float:
    return LABEL + (WIDTH - LABEL - MARGIN) * min(ratio, REACH) / REACH


def _axis(bottom: float) -> list[str]:
    parts = []
    for quarter in range(int(REACH * 4) + 1):
        ratio = quarter / 4
        style = "limit" if ratio == LIMIT else "line"
        parts.append(f'<line x1="{_x(ratio):.1f}" x2="{_x(ratio):.1f}" y1="{TOP - 8}" y2="{bottom}" class="{style}"/>')
        parts.append(_text(_x(ratio), TOP - 16, f"{100 * ratio:.0f} %", "soft", "middle"))
    return parts


def _strip(name: str, windows: Sequence[Measures], top: float) -> list[str]:
    """A dot a session; dots that would hide each other are stacked around the middle."""
    over = sum(window.overflows > 0 for window in windows)
    parts = [
        _text(MARGIN, top + ROW / 2 - 2, name, "head"),
        _text(MARGIN, top + ROW / 2 + 14, f"{over} over the limit", "soft"),
    ]
    stacked: dict[int, int] = {}
    for window in sorted(windows, key=lambda each: each.peak_billed / each.limit):
        ratio = window.peak_billed / window.limit
        column = round(_x(ratio) / 7)
        level = stacked.get(column, 0)
        stacked[column] = level + 1
        y = top + ROW / 2 + (level + 1) // 2 * 5 * (1 if level % 2 else -1)
        y = min(max(y, top + 4), top + ROW - 4)
        style = "over" if ratio > LIMIT else "well"
        shown = f"{window.session}: {100 * ratio:.0f} %"
        parts.append(
            f'<circle cx="{_x(ratio):.1f}" cy="{y:.1f}" r="3.4" class="{style}"><title>{escape(shown)}</title></circle>'
        )
    return parts


def _bars(bars: _Bars, outcome: Outcome, left: float, top: float, width: float) -> list[str]:
    values = {name: bars.of(windows) or 0.0 for name, windows in outcome.items()}
    most = max(values.values(), default=0.0) or 1.0
    room = width - LABEL + MARGIN - 110
    parts = [_text(left, top, bars.title, "head")]
    for at, (name, value) in enumerate(values.items()):
        y = top + 12 + BAR_ROW * at
        long = room * value / most
        parts.append(_text(left, y + 14, name, "soft"))
        start = left + LABEL - MARGIN
        parts.append(f'<rect x="{start:g}" y="{y:g}" width="{max(long, 1):.1f}" height="18" rx="3" class="well"/>')
        parts.append(_text(start + max(long, 1) + 8, y + 14, figure(value, bars.unit), "soft"))
    return parts
