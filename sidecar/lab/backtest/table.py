"""The policies side by side, as text: a column each, what was measured, and which aims are met."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from sidecar.lab.backtest.aims import AIMS
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.scores import SECTIONS, Figure
from sidecar.lab.style import Style, count

TITLE, COLUMN = 50, 14
PARTS = {"judge": "judged on", "tune": "tuned on"}

Outcome = Mapping[str, Sequence[Measures]]  # by policy


def table(outcome: Outcome, style: Style) -> str:
    """Write what was measured of all windows, then the aims for each part that there is."""
    blocks = [_measured(outcome, style)]
    for part, words in PARTS.items():
        within = {name: [each for each in windows if each.part == part] for name, windows in outcome.items()}
        some = next(iter(within.values()), [])
        if some:
            projects = ", ".join(sorted({each.project for each in some}))
            head = f"Aims, on the {count(len(some), 'session')} that policies are {words}"
            lines = [style.paint(f"{head}", "bold")]
            lines += [
                style.paint(line, "dim") for line in wrap(projects, 119, initial_indent="  ", subsequent_indent="  ")
            ]
            blocks.append("\n".join([*lines, *_aims(within, style)]))
    return "\n\n".join(blocks)


def _measured(outcome: Outcome, style: Style) -> str:
    some = next(iter(outcome.values()), [])
    fitting = sum(each.fits for each in some)
    head = f"{count(len(some), 'session')}, {fitting:,} of which fit their window"
    lines = [style.paint(f"{head:<{TITLE}}" + "".join(f"{name:>{COLUMN}}" for name in outcome), "bold")]
    for title, section in SECTIONS.items():
        lines.append(title)
        for score in section.values():
            cells = "".join(f"{figure(score.of(windows), score.unit):>{COLUMN}}" for windows in outcome.values())
            lines.append(f"  {score.title:<{TITLE - 2}}{cells}")
    return "\n".join(lines)


def _aims(outcome: Outcome, style: Style) -> list[str]:
    lines = []
    for aim in AIMS:
        cells = ""
        for windows in outcome.values():
            reached = aim.of(windows)
            met = aim.met(reached)
            mark = ("✓" if met else "✗") if style.blocks else ("met" if met else "missed")
            cells += style.paint(f"{f'{figure(reached, aim.unit)} {mark}':>{COLUMN}}", "low" if met else "critical")
        lines.append(f"  {aim.title:<{TITLE - 2}}{cells}  {aim.bound}")
    return lines


def figure(value: Figure, unit: str) -> str:
    """Write a figure with its unit, as precisely as it deserves."""
    if value is None:
        return "-"
    match unit:
        case "percent":
            return f"{value:.1f} %"
        case "points":
            return f"{value:.1f} points"
        case "mean":
            return f"{value:.2f}"
        case _:
            return f"{value:,.0f}"
