"""The tables of an audit, as rows of cells: what the terminal and the page both show, in the same order and words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.audit.findings import Audit, Reread, Tally, Window, project_path, total
from sidecar.lab.audit.summary import carried, percent, short, sum_cost
from sidecar.lab.style import count, duration

DAY = 86_400.0  # recordings without dates begin at 0

Align: TypeAlias = Literal["left", "right", "bar"]


@dataclass(frozen=True, slots=True)
class Stack:
    """A bar of parts: the ratio of each component to the whole."""

    ratios: Mapping[str, float]


Cell: TypeAlias = str | Stack


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells stand on a terminal that is too narrow for all of them.

    Columns that `gives` are left out, the highest number first. Names are cut to `least` characters: at their
    beginning, for paths and sessions differ at their end; `prose` is cut at its end.
    """

    heading: str
    align: Align = "right"
    gives: int = 0
    least: int = 16
    prose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table under a title; `note` says how to read it, `more` how many rows were left out."""

    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: int = 0
    empty: str = ""
    facts: Sequence[str] = field(default_factory=tuple)


def heading(audit: Audit) -> str:
    """What was looked at, in a line."""
    agents = [window.agent for window in audit.windows if window.within is None]
    by_agent = ", ".join(f"{agent} {agents.count(agent):,}" for agent in dict.fromkeys(agents))
    began = [window.began for window in audit.windows if window.began and window.began > DAY]
    days = dict.fromkeys(_day(each) for each in (min(began), max(began))) if began else {}
    span = f" · {' to '.join(days)}" if days else ""
    windows = f"{count(len(audit.windows), 'window')} of {count(audit.sessions, 'session')}"
    return f"{windows} ({by_agent}) · {count(len({window.project for window in audit.windows}), 'project')}{span}"


def sections(audit: Audit, rows: int) -> Iterator[Section]:
    """All tables that have something to show, each with at most `rows` rows."""
    yield _windows(audit, rows)
    yield _fillings(audit, rows)
    yield _tallies(audit, rows, "origins", "What filled them", "source", "tools with their results, and all else")
    for of, title, word in (
        ("servers", "MCP servers", "server"),
        ("files", "Files", "file"),
        ("skills", "Skills", "skill"),
    ):
        section = _tallies(audit, rows, of, title, word, "")
        if section.rows:
            yield section
    yield _largest(audit, rows)
    yield _compactions(audit, rows)
    yield _rereads(audit, rows)
    if any(window.within is not None for window in audit.windows):
        yield _sub_agents(audit, rows)
    yield _cost(audit)
    if audit.verdicts:
        yield _verdicts(audit)
    if audit.unknown or audit.broken_lines or audit.foreign_files:
        yield _left_out(audit, rows)


def _windows(audit: Audit, rows: int) -> Section:
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


def _fillings(audit: Audit, rows: int) -> Section:
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


def _tallies(audit: Audit, rows: int, of: str, title: str, word: str, note: str) -> Section:
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


def _largest(audit: Audit, rows: int) -> Section:
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


def _compactions(audit: Audit, rows: int) -> Section:
    cuts = [cut for window in audit.windows for cut in window.compactions]
    ordered = sorted(cuts, key=lambda cut: (cut.silent, -cut.dropped, cut.session, cut.at))
    return Section(
        title="Compactions",
        note="silent: only the bill tells of it; repaid: the next prompt's tokens that were not in the prompt cache",
        columns=[
            Column("window", "left", least=28),
            Column("after", gives=2),
            Column("trigger", "left", gives=1),
            Column("before"),
            Column("left"),
            Column("dropped"),
            Column("repaid"),
            Column("files read again", gives=3),
        ],
        rows=[
            [
                cut.session,
                duration(cut.at),
                "silent" if cut.silent else cut.trigger or "",
                short(cut.before),
                short(cut.after),
                short(cut.dropped),
                short(cut.repaid),
                f"{cut.reread_files:,} ({short(cut.reread_tokens)})" if cut.reread_files else "",
            ]
            for cut in ordered[:rows]
        ],
        more=len(ordered) - rows,
        empty="No window was compacted.",
    )


def _rereads(audit: Audit, rows: int) -> Section:
    merged: dict[str, Reread] = {}
    for window in audit.windows:
        for path, reread in window.rereads.items():
            shown = project_path(audit.windows, window, path)
            known = merged.setdefault(shown, Reread(path=shown))
            for name in ("reads", "windows", "tokens", "same", "same_tokens"):
                setattr(known, name, getattr(known, name) + getattr(reread, name))
    ordered = sorted(merged.values(), key=lambda reread: (-reread.tokens, reread.path))
    return Section(
        title="Files read again",
        note="while what was read of them before was still in the window; tokens: those of the later reads",
        columns=[
            Column("file", "left"),
            Column("windows", gives=2),
            Column("reads"),
            Column("tokens"),
            Column("unchanged", gives=1),
        ],
        rows=[
            [
                reread.path,
                f"{reread.windows:,}",
                f"{reread.reads:,}",
                short(reread.tokens),
                f"{reread.same:,} ({short(reread.same_tokens)})" if reread.same else "",
            ]
            for reread in ordered[:rows]
        ],
        more=len(ordered) - rows,
        empty="No file was read again while it was still in the window.",
    )


def _sub_agents(audit: Audit, rows: int) -> Section:
    kinds: dict[str, list[Window]] = {}
    for window in audit.windows:
        if window.within is not None:
            kinds.setdefault(window.label or "(type not told)", []).append(window)
    ordered = sorted(kinds.items(), key=lambda each: (-sum(window.cost.sent for window in each[1]), each[0]))
    whole = sum(window.cost.sent for window in audit.windows)
    reported = sum(window.reported for window in audit.windows)
    return Section(
        title="Sub-agents",
        note=f"each fills a window of its own; what all of them reported to their callers: {short(reported)} tokens",
        columns=[
            Column("type", "left"),
            Column("windows"),
            Column("calls", gives=1),
            Column("mean peak"),
            Column("sent"),
            Column("of all sent"),
        ],
        rows=[
            [
                label,
                f"{len(windows):,}",
                f"{sum(window.calls for window in windows):,}",
                short(sum(window.peak for window in windows) / len(windows)),
                short(sum(window.cost.sent for window in windows)),
                percent(sum(window.cost.sent for window in windows), whole),
            ]
            for label, windows in ordered[:rows]
        ],
        more=len(ordered) - rows,
    )


def _cost(audit: Audit) -> Section:
    by_model: dict[str, list[Window]] = {}
    for window in audit.windows:
        if window.billed:
            by_model.setdefault(window.model or "unknown", []).append(window)
    ordered = sorted(by_model.items(), key=lambda each: -sum(window.cost.sent for window in each[1]))
    unbilled = sum(not window.billed for window in audit.windows)
    note = f"; {count(unbilled, 'window')} without bills: estimated, and not in here" if unbilled else ""
    return Section(
        title="What the provider counted",
        note=f"tokens over all calls; fresh: neither from the prompt cache nor put there{note}",
        columns=[
            Column("model", "left"),
            Column("calls"),
            Column("sent"),
            Column("from cache"),
            Column("to cache", gives=1),
            Column("fresh", gives=2),
            Column("written by it"),
        ],
        rows=[
            [
                model,
                f"{cost.calls:,}",
                short(cost.sent),
                percent(cost.cached, cost.sent),
                short(cost.written),
                short(cost.fresh),
                short(cost.output),
            ]
            for model, cost in ((model, sum_cost(windows)) for model, windows in ordered)
        ],
        empty="The transcripts hold no bills: all sizes are estimates.",
    )


def _verdicts(audit: Audit) -> Section:
    cuts = sum(not cut.silent for window in audit.windows for cut in window.compactions)
    return Section(
        title="What a policy would have changed",
        note="the same windows through the sidecar's engine, without the tool's own compactions",
        columns=[
            Column("policy", "left"),
            Column("windows refused"),
            Column("tokens refused", gives=2),
            Column("windows over limit"),
            Column("fullest", gives=3),
            Column("cleanups", gives=1),
            Column("freed"),
            Column("needed again"),
            Column("cache lost", gives=2),
            Column("spared", gives=1),
        ],
        rows=[
            [
                verdict.policy,
                f"{verdict.refused_windows:,}",
                short(verdict.refused_tokens),
                f"{verdict.overflowing_windows:,}",
                percent(verdict.peak_ratio, 1),
                f"{verdict.cleanups:,}",
                short(verdict.freed_tokens),
                percent(verdict.readmitted_tokens, verdict.freed_tokens),
                short(verdict.cache_lost_tokens),
                f"{verdict.spared:,} of {cuts:,}" if cuts else "",
            ]
            for verdict in audit.verdicts
        ],
    )


def _left_out(audit: Audit, rows: int) -> Section:
    facts = []
    if audit.broken_lines:
        facts += [
            f"{count(audit.broken_lines, 'line')} could not be read:",
            *(f"  {line}" for line in audit.broken[:rows]),
        ]
    if audit.foreign_files:
        facts += [f"{count(audit.foreign_files, 'file')} left out:", *(f"  {file}" for file in audit.foreign[:rows])]
    if audit.unknown:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in list(audit.unknown.items())[:rows])
        facts.append(f"{count(sum(audit.unknown.values()), 'line')} of kinds that are not known: {kinds}")
    return Section(title="What could not be used", note="", columns=[], rows=[], facts=facts)


def _times(window: Window) -> str:
    told, silent = (sum(cut.silent is quiet for cut in window.compactions) for quiet in (False, True))
    return f"{told:,}" + (f" + {silent:,} silent" if silent else "") if told or silent else ""


def _day(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%-d %b %Y")
