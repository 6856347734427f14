"""The policies side by side, as text: a column each, what was measured, and which aims are met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

from sidecar.lab.backtest.aims import AIMS
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.scores import SECTIONS, Figure
from sidecar.lab.style import Style, count

USUAL = 100  # columns, where the output is no terminal
GAP, LEAST = 2, 24  # between columns; of the titles, however narrow the terminal
PARTS = {"judge": "judged on", "tune": "tuned on"}

Outcome = Mapping[str, Sequence[Measures]]  # by policy


@dataclass(frozen=True, slots=True)
class _Row:
    """A title, and what stands in the columns beside it; with the colours of both, where they have any."""

    title: str
    cells: Sequence[str] = ()
    colours: Sequence[str] = ()
    indent: str = "  "
    colour: str = ""


def table(outcome: Outcome, style: Style, *, width: int = USUAL) -> str:
    """Write what was measured of all windows, then the aims for each part that there is. `width`: in characters."""
    blocks = [_measured(outcome)]
    for part, words in PARTS.items():
        within = {name: [each for each in windows if each.part == part] for name, windows in outcome.items()}
        if some := next(iter(within.values()), []):
            head = f"Aims, on the {count(len(some), 'session')} that policies are {words}"
            projects = ", ".join(sorted({each.project for each in some}))
            blocks.append([_Row(head, indent="", colour="bold"), _Row(projects, colour="dim"), *_aims(within, style)])
    return "\n\n".join(_written(blocks, style, width))


def _measured(outcome: Outcome) -> list[_Row]:
    some = next(iter(outcome.values()), [])
    head = f"{count(len(some), 'session')}, {sum(each.fits for each in some):,} of which fit their window"
    rows = [_Row(head, list(outcome), ["bold"] * len(outcome), "", "bold")]
    for title, section in SECTIONS.items():
        rows.append(_Row(title, indent=""))
        rows += [
            _Row(score.title, [figure(score.of(windows), score.unit) for windows in outcome.values()])
            for score in section.values()
        ]
    return rows


def _aims(outcome: Outcome, style: Style) -> list[_Row]:
    rows = []
    marks = ("✗", "✓") if style.blocks else ("missed", "met")
    for aim in AIMS:
        reached = [aim.of(windows) for windows in outcome.values()]
        met = [aim.met(each) for each in reached]
        cells = [f"{figure(each, aim.bound.unit)} {marks[is_met]}" for each, is_met in zip(reached, met, strict=True)]
        colours = ["low" if is_met else "critical" for is_met in met]
        rows.append(_Row(f"{aim.title}: {aim.bound.text}", cells, colours))
    return rows


def _written(blocks: Sequence[Sequence[_Row]], style: Style, width: int) -> list[str]:
    """Each block as text, all with the same columns; titles take the lines that they need."""
    tall = [row for block in blocks for row in block if row.cells]
    widths = [GAP + max(map(len, column)) for column in zip(*(row.cells for row in tall), strict=True)]
    longest = max(len(row.indent + row.title) for row in tall)
    titles = max(LEAST, min(longest, width - sum(widths)))
    return ["\n".join(_lines(row, style, widths, titles if row.cells else width) for row in block) for block in blocks]


def _lines(row: _Row, style: Style, widths: Sequence[int], width: int) -> str:
    first, *more = wrap(row.title, width, initial_indent=row.indent, subsequent_indent=f"{row.indent}  ")
    cells = [f"{cell:>{column}}" for cell, column in zip(row.cells, widths, strict=bool(row.cells))]
    painted = [_painted(cell, colour, style) for cell, colour in zip_longest(cells, row.colours, fillvalue="")]
    beside = f"{'':<{width - len(first)}}{''.join(painted)}" if cells else ""
    return "\n".join(
        [_painted(first, row.colour, style) + beside, *(_painted(line, row.colour, style) for line in more)]
    )


def _painted(text: str, colour: str, style: Style) -> str:
    return style.paint(text, colour) if colour else text


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
