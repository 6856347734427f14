"""The page's pictures, as SVG that is drawn from numbers: what a window held, and how it filled call by call."""

from collections.abc import Sequence
from html import escape

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.audit.findings import Window
from sidecar.lab.audit.layout import Stack
from sidecar.lab.audit.summary import percent, short
from sidecar.lab.table import HEADINGS

COURSES = 6  # windows whose course is drawn
POINTS = 400  # of a course: more would not be seen
WIDE, HIGH = 640, 120
BAR_WIDE, BAR_HIGH = 160, 10
NOTE = "the prompt of each model call; the dashed line above is the window's limit, those across it are compactions"


def courses(windows: Sequence[Window]) -> str:
    """A section with the courses of the fullest windows; nothing where no window had two calls."""
    drawn = sorted(
        (window for window in windows if len(window.course) > 1), key=lambda each: (-each.fill, each.session)
    )
    if not drawn:
        return ""
    figures = "\n".join(_course(window) for window in drawn[:COURSES])
    return f"""<section>
<h2>Their course</h2>
<p class="note">{escape(NOTE)}</p>
<div class="courses">
{figures}
</div>
</section>"""


def _course(window: Window) -> str:
    calls, top = len(window.course), max(window.limit, window.peak, 1)
    step = max(1, -(-calls // POINTS))
    # Of each stretch the largest: a peak must not fall between two points.
    points = [(at, max(window.course[at : at + step])) for at in range(0, calls, step)]

    def x(call: float) -> float:
        return round(WIDE * min(call / max(calls - 1, 1), 1.0), 1)

    line = " ".join(f"{x(at)},{HIGH - HIGH * prompt / top:.1f}" for at, prompt in points)
    cuts = "".join(
        f'<line class="cut{" silent" * cut.silent}" x1="{x(cut.call)}" x2="{x(cut.call)}" y1="0" y2="{HIGH}"/>'
        for cut in window.compactions
    )
    peak = f"{'' if window.billed else '~'}{short(window.peak)} of {short(window.limit)}"
    told = f"{peak} ({percent(window.peak, window.limit)}) at call {window.peak_call:,} of {calls:,}"
    return f"""<figure>
<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(told)}" preserveAspectRatio="none">
<polygon class="area" points="0,{HIGH} {line} {x(points[-1][0])},{HIGH}"/>
<polyline class="line" points="{line}"/>{cuts}</svg>
<figcaption><b>{escape(window.session)}</b> <span>{escape(told)}</span></figcaption>
</figure>"""


def stack(bar: Stack) -> str:
    """A bar of parts, each with its name and ratio for who points at it."""
    at, parts = 0.0, []
    for name, ratio in bar.ratios.items():
        wide = BAR_WIDE * min(max(ratio, 0.0), 1.0)
        title = escape(f"{HEADINGS[name]} {percent(ratio, 1)}")
        box = f'x="{at:.1f}" width="{wide:.1f}" height="{BAR_HIGH}"'
        parts.append(f'<rect class="{name}" {box}><title>{title}</title></rect>')
        at += wide
    told = escape(", ".join(f"{HEADINGS[name]} {percent(ratio, 1)}" for name, ratio in bar.ratios.items() if ratio))
    size = f'viewBox="0 0 {BAR_WIDE} {BAR_HIGH}" width="{BAR_WIDE}" height="{BAR_HIGH}"'
    rest = f'<rect class="rest" width="{BAR_WIDE}" height="{BAR_HIGH}"/>'
    return f'<svg class="stack" {size} role="img" aria-label="{told}">{rest}{"".join(parts)}</svg>'


def legend() -> str:
    """Which colour is which component."""
    keys = [
        '<span><svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">'
        f'<rect class="{name}" width="10" height="10"/></svg> {HEADINGS[name]}</span>'
        for name in COMPONENTS
    ]
    return f'<p class="legend">{"".join(keys)}</p>'
