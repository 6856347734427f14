"""Lines for a terminal: a line a window, or one window with its components and its latest decisions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import terminal_size
from textwrap import wrap
from typing import Any

from sidecar.budget.policy import COMPONENTS, STATUSES, Component
from sidecar.lab.style import Style, count, cut, duration
from sidecar.lab.top.watch import Report, Window
from sidecar.lab.top.words import tell

SHORT: Mapping[Component, str] = {
    "system_context": "system",
    "working_memory": "memory",
    "knowledge_base": "knowledge",
    "agent_context": "agents",
    "interaction_buffer": "talk",
}
LETTERS = {name: short[0].upper() for name, short in SHORT.items()}
NAME, LEAST_NAME = 30, 12
FIGURES = 48  # the columns after the bar
LEAST_BAR = 12
WIDE = 100  # columns from which a component is shown with its budget
LEGEND = sum(len(short) + 4 for short in SHORT.values()) - 2  # columns that it takes
CLEAR = "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is looked at: all windows with one of them `chosen`, or that one alone (`alone`)."""

    chosen: str | None = None
    alone: bool = False
    trouble: str = ""


def ordered(windows: Mapping[str, Window]) -> list[str]:
    """The sessions' ids: open ones first, then by utilization, the fullest first."""
    reports = {id: window.report for id, window in windows.items()}
    return sorted(
        reports, key=lambda id: (reports[id]["state"] == "closed", -reports[id]["overall"]["utilization_ratio"], id)
    )


def table(windows: Mapping[str, Window], ids: Sequence[str], style: Style, width: int, view: View) -> list[str]:
    """A heading and a line for each of these windows."""
    long = min(NAME, max(LEAST_NAME, width - FIGURES - LEAST_BAR - 4))
    bar = max(LEAST_BAR, width - long - FIGURES - 4)
    heads = f"{'used':>6}  {'status':<9}{'full in':>12}{'exh.':>6}{'freed':>11}"
    lines = [
        style.paint(
            f"  {'window':<{long}} {('what fills it' if bar > LEAST_BAR else 'filled by'):<{bar}} {heads}", "dim"
        )
    ]
    for id in ids:
        window = windows[id]
        mark = ("▸ " if style.blocks else "> ") if id == view.chosen else "  "
        name = cut(id, long, ellipsis="…" if style.blocks else "~")
        name = style.paint(f"{name:<{long}}", "bold") if id == view.chosen else f"{name:<{long}}"
        lines.append(f"{mark}{name} {window_bar(window.report, bar, style)} {_figures(window, style)}")
    return lines


def _figures(window: Window, style: Style) -> str:
    report = window.report
    overall = report["overall"]
    parts = report.get("components")
    status = style.paint(f"{overall['status']:<9}", overall["status"])
    exhausted = sum(part["exhaustions"] for part in parts.values()) if parts else None
    return (
        f"{100 * overall['utilization_ratio']:>4.0f} %  {status}{_next(report):>12}"
        f"{'' if exhausted is None else exhausted:>6}{'' if window.freed is None else f'{window.freed:,}':>11}"
    )


def _next(report: Report) -> str:
    if report["state"] != "active":
        return str(report["state"])
    if report["overall"]["utilization_ratio"] >= 1:
        return "full"
    eta = report["forecast"].get("eta_seconds")
    return "" if eta is None else duration(eta)


def window_bar(report: Report, width: int, style: Style) -> str:
    """What fills a window, as one bar: a colour for each component, a letter where there are no colours."""
    overall = report["overall"]
    whole = max(overall["total_tokens"], overall["used_tokens"], 1)
    parts: dict[str, int] = {name: part["used_tokens"] for name, part in report.get("components", {}).items()}
    rest = overall["used_tokens"] - sum(parts.values())
    full, empty, tick = ("█", "░", "┊") if style.blocks else ("?", ".", "|")
    cells: list[str] = []
    upto = 0
    for name, used in [*parts.items(), ("", rest)]:
        upto += used
        ends = min(width, round(upto / whole * width))
        letter = full if style.colour or not name else LETTERS[name]  # type: ignore[index]
        paint = style.paint(letter, name) if name else style.paint(full, "dim")
        cells += [paint] * (ends - len(cells))
    left = [empty] * (width - len(cells))
    high = overall.get("target", {}).get("high", 0.85)
    at = int(high * overall["total_tokens"] / whole * width) - len(cells)
    if 0 <= at < len(left):
        left[at] = tick
    return "".join(cells) + style.paint("".join(left), "dim")


def legend(style: Style) -> str:
    """The names of the five components in their colours or with their letters."""
    if style.colour:
        return "  ".join(style.paint("█ " if style.blocks else "# ", name) + SHORT[name] for name in COMPONENTS)
    return "  ".join(f"{LETTERS[name]} {SHORT[name]}" for name in COMPONENTS)


def screen(windows: Mapping[str, Window], name: str, size: terminal_size, style: Style, view: View) -> list[str]:
    """The whole screen, exactly as many lines as the terminal has."""
    width, height = max(size.columns, 40), max(size.lines, 6)
    if view.alone and view.chosen is not None and view.chosen in windows:
        keys = "q quit  esc back  ↑↓ others"
        body = detail(view.chosen, windows[view.chosen], style, width)
    else:
        keys = "q quit  ↑↓ choose  enter open"
        body = _listed(windows, style, width, height - 4, view)
    head = f"{style.paint('Token budget', 'bold')}  {name}  {census(windows, style)}"
    if view.trouble:
        head += "  " + style.paint(view.trouble, "critical")
    lines = [head, "", *body[: height - 3]]
    lines += [""] * (height - 1 - len(lines))
    beside = width - len(keys) - 2
    lines.append(style.paint(keys, "dim") + ("  " + legend(style) if beside >= LEGEND else ""))
    return [clipped(line, width) for line in lines]


def _listed(windows: Mapping[str, Window], style: Style, width: int, room: int, view: View) -> list[str]:
    ids = ordered(windows)
    if not ids:
        return wrap("No window yet. It appears here when an agent opens a session or sends its first event.", width)
    return table(windows, scrolled(ids, view.chosen, room), style, width, view)


def scrolled(ids: Sequence[str], chosen: str | None, room: int) -> Sequence[str]:
    """The part of a list that fits, with the chosen one in it."""
    at = ids.index(chosen) if chosen in ids else 0
    start = max(0, min(at - room + 2, len(ids) - room)) if at > room - 2 else 0
    return ids[start : start + max(room, 1)]


def census(windows: Mapping[str, Window], style: Style) -> str:
    """How many windows are open, and how many of them in which status."""
    reports = [window.report for window in windows.values() if window.report["state"] != "closed"]
    told = [count(len(reports), "window")]
    for status in reversed(STATUSES):
        found = sum(report["overall"]["status"] == status for report in reports)
        if found:
            told.append(style.paint(f"{found} {status}", status))
    return "  ".join(told)


def detail(session: str, window: Window, style: Style, width: int) -> list[str]:
    """One window: three answers, its bar, its components, its latest decisions."""
    report = window.report
    overall = report["overall"]
    facts = [report["state"], report["agent"], report.get("model"), report["mode"]]
    told = style.paint(" · ".join(str(fact) for fact in facts if fact), "dim")
    lines = [style.paint(session, "bold"), told, ""]
    status = style.paint(str(overall["status"]), overall["status"])
    level = f"{100 * overall['utilization_ratio']:.0f} % {status}"
    lines.append(
        f"fills      {level}, {overall['used_tokens']:,} of {overall['total_tokens']:,} tokens{_mostly(report)}"
    )
    freed = "reading" if window.freed is None else f"{window.freed:,} tokens freed"
    if pending := overall.get("pending_tokens"):
        freed += f", {pending:,} of them not confirmed by the agent"
    lines += [f"cleaned    {freed}", f"next       {_forecast(report)}", "", window_bar(report, width - 1, style), ""]
    if "components" in report:
        lines += [_component(name, report["components"][name], style, width) for name in COMPONENTS]
    lines += ["", style.paint("latest decisions", "dim"), *_decisions(window.entries, style)]
    return lines


def _mostly(report: Report) -> str:
    parts = report.get("components", {})
    used = {name: part["used_tokens"] for name, part in parts.items()}
    most = max(used, key=lambda name: used[name], default=None)
    return f", mostly {most.replace('_', ' ')}" if most is not None and used[most] else ""


def _forecast(report: Report) -> str:
    if report["state"] == "closed":
        return "closed"
    if report["overall"]["utilization_ratio"] >= 1:
        return "it is full"
    eta, calls = (report["forecast"].get(name) for name in ("eta_seconds", "eta_calls"))
    told = [] if eta is None else [duration(eta)]
    if calls:
        told.append(f"about {count(max(1, round(calls)), 'model call')}")
    return f"full in {', '.join(told)}" if told else "room to go on: it is not growing"


def _component(name: Component, part: Mapping[str, Any], style: Style, width: int) -> str:
    wide = width >= WIDE
    bar = max(10, min(40, width - (82 if wide else 69)))
    shown = f"{part['used_tokens']:>9,}" + (f" of {part['allocated_tokens']:>9,}" if wide else "")
    gauge = style.bar(part["utilization_ratio"], bar, mark=part["target"]["high"])
    status = style.paint(f"{part['status']:<9}", part["status"])
    line = f"{style.paint(f'{name:<19}', name)}{shown}  {gauge} {100 * part['utilization_ratio']:>4.0f} %  {status}"
    notes = []
    if part["exhaustions"]:
        notes.append(f"exhausted {count(part['exhaustions'], 'time')}")
    if part.get("reclaimable_tokens"):
        notes.append(f"{part['reclaimable_tokens']:,} reclaimable")
    room = width - 19 - len(shown) - bar - 20  # what is left after the status
    while notes and len(", ".join(notes)) > room:
        notes.pop()
    return f"{line} {', '.join(notes)}" if notes else line


def _decisions(entries: Iterable[Mapping[str, Any]], style: Style) -> list[str]:
    lines = []
    for entry in reversed(list(entries)):
        told = tell(entry)
        if told is not None:
            text, status = told
            lines.append(f"{entry['time'][11:19]}  {style.paint(text, status) if status else text}")
    return lines or ["nothing yet"]


def clipped(line: str, width: int) -> str:
    """The line cut to a width; what a terminal does not show (colours) takes none of it."""
    shown, at = 0, 0
    while at < len(line):
        if line[at] == "\x1b":
            at = line.index("m", at) + 1
            continue
        if shown == width:
            return line[:at] + (CLEAR if "\x1b" in line else "")
        shown += 1
        at += 1
    return line
