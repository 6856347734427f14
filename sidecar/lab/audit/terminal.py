"""An audit on a terminal: the summary, then tables as wide as it is."""

from collections.abc import Iterator, Sequence
from textwrap import fill

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.layout import Cell, Column, Section, Stack
from sidecar.lab.audit.sections import heading, sections
from sidecar.lab.audit.summary import JOINED, joined, summary
from sidecar.lab.style import Style, cut
from sidecar.lab.table import HEADINGS

GAP = 2
BAR = 24
ROOM = 110  # characters of text in a line, however wide the terminal is


def report(audit: Audit, style: Style, *, width: int, rows: int) -> str:
    """Write everything, in lines of at most `width` characters."""
    lines = [style.paint(line, "bold") for line in _text(heading(audit), width).splitlines()] + [""]
    lines += [_text(sentence, width) for sentence in summary(audit)]
    for section in sections(audit, rows):
        lines += ["", *_section(section, style, width)]
    return "\n".join(lines)


def _section(section: Section, style: Style, width: int) -> Iterator[str]:
    yield style.paint(section.title, "bold")
    if section.note and section.rows:
        yield from (style.paint(line, "dim") for line in _text(section.note, width).splitlines())
    if section.rows:
        yield from _table(section, style, width)
    elif section.empty:
        yield _text(section.empty, width)
    for fact in section.facts:
        yield _text(fact.lstrip(), width, indent="  " if fact.startswith(" ") else "")
    if section.more > 0:
        yield style.paint(f"and {section.more:,} more", "dim")
    if any(isinstance(cell, Stack) for row in section.rows for cell in row):
        yield "  ".join(f"{style.key(name)} {HEADINGS[name]}" for name in COMPONENTS)


def _table(section: Section, style: Style, width: int) -> Iterator[str]:
    kept = _kept(section, width)
    columns = [section.columns[index] for index in kept]
    rows = [[row[index] for index in kept] for row in section.rows]
    widths = _widths(columns, rows, width)
    yield style.paint(_line([column.heading for column in columns], columns, widths, style), "bold").rstrip()
    for row in rows:
        yield _line(row, columns, widths, style).rstrip()


def _line(cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], style: Style) -> str:
    return (" " * GAP).join(
        _cell(cell, column, width, style) for cell, column, width in zip(cells, columns, widths, strict=True)
    )


def _cell(cell: Cell, column: Column, width: int, style: Style) -> str:
    if isinstance(cell, Stack):
        return style.stack(cell.ratios, width)
    ellipsis = "…" if style.blocks else "~"
    shown = cut(cell[::-1], width, ellipsis=ellipsis)[::-1] if column.prose else cut(cell, width, ellipsis=ellipsis)
    return f"{shown:>{width}}" if column.align == "right" else f"{shown:<{width}}"


def _kept(section: Section, width: int) -> list[int]:
    """The columns that there is room for: those that give way go first, the highest number before the others."""
    kept = list(range(len(section.columns)))
    while True:
        least = sum(_least(section, index) + GAP for index in kept) - GAP
        giving = [index for index in kept if section.columns[index].gives]
        if least <= width or not giving:
            return kept
        kept.remove(max(giving, key=lambda index: section.columns[index].gives))


def _least(section: Section, index: int) -> int:
    """What a column needs at least: numbers all of it, names and bars a part."""
    column = section.columns[index]
    full = _full(column, [row[index] for row in section.rows])
    return full if column.align == "right" else min(full, _floor(column))


def _floor(column: Column) -> int:
    return BAR // 2 if column.align == "bar" else column.least


def _full(column: Column, cells: Sequence[Cell]) -> int:
    if column.align == "bar":
        return BAR
    return max(len(column.heading), *(len(cell) for cell in cells if isinstance(cell, str)))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """Numbers get what they need; what is too much is taken from the widest names first, a character at a time."""
    widths = [_full(column, [row[index] for row in rows]) for index, column in enumerate(columns)]
    while sum(widths) + GAP * (len(widths) - 1) > width:
        names = [
            index for index, column in enumerate(columns) if column.align != "right" and widths[index] > _floor(column)
        ]
        if not names:
            break
        widths[max(names, key=lambda index: widths[index])] -= 1
    return widths


def _text(sentence: str, width: int, *, indent: str = "") -> str:
    # A number stays with its unit.
    return fill(
        joined(sentence),
        min(width, ROOM),
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_on_hyphens=False,
    ).replace(JOINED, " ")
