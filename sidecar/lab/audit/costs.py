"""The tables of what it cost, and what a policy would have changed; and of what could not be read."""

from sidecar.lab.audit.findings import Audit, Reread, Window, project_path
from sidecar.lab.audit.layout import Column, Section
from sidecar.lab.audit.summary import percent, short, sum_cost
from sidecar.lab.style import count, duration


def compactions_section(audit: Audit, rows: int) -> Section:
    """What each compaction threw out, what it cost, and what was read again after it."""
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


def rereads_section(audit: Audit, rows: int) -> Section:
    """Files that were read while an earlier read was still in the window, by what that brought."""
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


def sub_agents_section(audit: Audit, rows: int) -> Section:
    """The windows of sub-agents, by their type."""
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


def cost_section(audit: Audit) -> Section:
    """What the provider counted over all calls, by model."""
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


def verdicts_section(audit: Audit) -> Section:
    """Each policy beside the others, over all windows."""
    cuts = sum(cut.sparable for window in audit.windows for cut in window.compactions)
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


def left_out_section(audit: Audit, rows: int) -> Section:
    """Lines and files that could not be used, and kinds of lines that nobody knows."""
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
