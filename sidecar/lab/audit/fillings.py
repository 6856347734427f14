"""The tables of what filled the windows: each at its fullest, then everything that came in, by where it came from."""

from collections.abc import Iterator, Mapping

from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.presets import STANDARD
from sidecar.lab.audit.findings import Audit, Tally, Window, total
from sidecar.lab.audit.layout import Cell, Column, Section, Stack
from sidecar.lab.audit.summary import carried, percent, short
from sidecar.lab.style import duration


def windows_section(audit: Audit, rows: int) -> Section:
    """The windows, the fullest first, with what each held when it was largest."""
    ordered = _fullest(audit)
    return Section(
        title="Windows",
        note="the fullest first, each at the call where it was largest",
        columns=[
            Column("window", "left", least=28),
            Column("model", "left", gives=3),
            Column("lasted", gives=4),
            Column("calls", gives=2),
            Column("peak"),
            Column("full"),
            Column("compacted", gives=1),
            Column("what it held", "bar"),
        ],
        rows=[
            [
                window.session,
                window.model or "",
                duration(window.seconds),
                f"{window.calls:,}",
                short(window.peak) if window.billed else f"~{short(window.peak)}",
                percent(window.peak, window.limit),
                _times(window),
                Stack({name: window.composition[name] / max(window.limit, 1) for name in COMPONENTS}),
            ]
            for window in ordered[:rows]
        ],
        more=len(ordered) - rows,
    )


def components_section(audit: Audit) -> Section:
    """What the largest prompts were made of, beside the shares that a budget gives."""
    sums = {name: sum(window.composition[name] for window in audit.windows) for name in COMPONENTS}
    whole = sum(sums.values())
    fullest = {name: _share_of_fullest(audit, name) for name in COMPONENTS}
    return Section(
        title="Components",
        note="of the largest prompts together; at most: of a window's limit; budget: the share under `standard`",
        columns=[
            Column("component", "left"),
            Column("tokens"),
            Column("of all"),
            Column("at most"),
            Column("budget"),
        ],
        rows=[
            [
                name,
                short(sums[name]),
                percent(sums[name], whole),
                percent(fullest[name], 1),
                percent(STANDARD.shares[name], 1),
            ]
            for name in COMPONENTS
        ],
    )


def _share_of_fullest(audit: Audit, name: Component) -> float:
    return max(window.composition[name] / window.limit for window in audit.windows)


def fillings_section(audit: Audit, rows: int) -> Section:
    """Of the fullest windows, which sources and which file had most of the largest prompt."""
    return Section(
        title="What filled each",
        note="of its largest prompt",
        columns=[
            Column("window", "left"),
            Column("largest at", gives=1),
            Column("after", gives=2),
            Column("mostly", "left", least=48, prose=True),
            Column("and of files, most", "left", gives=3),
        ],
        rows=[
            [
                window.session,
                f"call {window.peak_call:,}",
                duration(window.peak_at),
                ", ".join(_parts(window, window.origins, 3)),
                ", ".join(_parts(window, window.files, 1)),
            ]
            for window in _fullest(audit)[:rows]
        ],
        more=len(audit.windows) - rows,
    )


def _parts(window: Window, tallies: Mapping[str, Tally], most: int) -> Iterator[str]:
    """The largest parts of a window's peak, with their shares."""
    ordered = sorted(tallies.items(), key=lambda each: (-each[1].at_peak, each[0]))
    for name, tally in ordered[:most]:
        if tally.at_peak:
            yield f"{name} {percent(tally.at_peak, window.peak)}"


def _fullest(audit: Audit) -> list[Window]:
    return sorted(audit.windows, key=lambda window: (-window.fill, window.session))


def tallies_section(audit: Audit, rows: int, of: str, title: str, word: str, note: str) -> Section:
    """What came in by `origins`, `servers`, `files` or `skills`, what was carried furthest first."""
    tallies = total(audit.windows, of)
    whole, peaks = carried(audit), sum(window.peak for window in audit.windows)
    return Section(
        title=title,
        note=f"{note}; " * bool(note) + "carried: tokens times the model calls that sent them along",
        columns=[
            Column(word, "left"),
            Column("pieces", gives=2),
            Column("tokens"),
            Column("of peaks", gives=1),
            Column("carried"),
            Column("of all carried"),
        ],
        rows=[_tally(name, tally, whole, peaks) for name, tally in list(tallies.items())[:rows]],
        more=len(tallies) - rows,
    )


def _tally(name: str, tally: Tally, whole: int, peaks: int) -> list[Cell]:
    return [
        name,
        f"{tally.pieces:,}",
        short(tally.tokens),
        percent(tally.at_peak, peaks),
        short(tally.carried),
        percent(tally.carried, whole),
    ]


def largest_section(audit: Audit, rows: int) -> Section:
    """The largest single pieces."""
    every = sorted(
        (piece for window in audit.windows for piece in window.largest),
        key=lambda each: (-each.tokens, each.session, each.at),
    )
    return Section(
        title="Largest pieces",
        note="one result, text or prompt at a time",
        columns=[
            Column("what", "left", least=20, prose=True),
            Column("file or skill", "left", gives=1),
            Column("window", "left", gives=2),
            Column("after", gives=3),
            Column("tokens"),
            Column("calls"),
        ],
        rows=[
            [piece.origin, piece.path or "", piece.session, duration(piece.at), short(piece.tokens), f"{piece.calls:,}"]
            for piece in every[:rows]
        ],
    )


def _times(window: Window) -> str:
    told, silent = (sum(cut.silent is quiet for cut in window.compactions) for quiet in (False, True))
    return f"{told:,}" + (f" + {silent:,} silent" if silent else "") if told or silent else ""
