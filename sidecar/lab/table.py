"""Sessions as readable tables: one block a session with a bar a component, or one line a session."""

from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Any

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.account import Account
from sidecar.lab.player import Played
from sidecar.lab.style import Style, count, cut, duration

BAR = 30
NAME, CELL, NUMBER = 37, 7, 10  # widths of the overview's columns
WIDTH = 119  # of both, so that they fit the same terminal; a narrower one is shown less
LEAST_NAME, LEAST_BAR = 16, 10
ROW, NOTE = 63, 21  # columns of a component beside its bar, and of how often it was exhausted
NUMBERS = ("exhausted", "cleanups", "freed", "refused")  # the first gives way first
HEADINGS = {
    "system_context": "system",
    "working_memory": "memory",
    "knowledge_base": "knowl.",
    "agent_context": "agents",
    "interaction_buffer": "talk",
}


def details(sessions: Iterable[Played], style: Style, width: int = WIDTH) -> str:
    """Write a block for each session: what fills its window, and what was done about it."""
    return "\n\n".join(_block(played, style, min(width, WIDTH)) for played in sessions)


def overview(sessions: Sequence[Played], style: Style, width: int = WIDTH) -> str:
    """Write a line for each session, utilization in percent, and their sum."""
    heads = ["window", *(HEADINGS[component] for component in COMPONENTS)]
    left = width - CELL * len(heads)
    numbers = NUMBERS[max(0, len(NUMBERS) - max(0, left - LEAST_NAME) // NUMBER) :]
    name_width = min(NAME, max(LEAST_NAME, left - NUMBER * len(numbers)))
    head = "".join([*(f"{text:>{CELL}}" for text in heads), *(f"{text:>{NUMBER}}" for text in numbers)])
    lines = [style.paint(f"{'session':<{name_width}}{head}", "bold")]
    for played in sessions:
        name = ("  " if played.opened.parent else "") + played.session
        parts = [played.report["overall"], *(played.report["components"][component] for component in COMPONENTS)]
        cells = "".join(style.paint(f"{_percent(part):>{CELL}}", part["status"]) for part in parts)
        name = cut(name, name_width - 1, ellipsis="…" if style.blocks else "~")
        lines.append(f"{name:<{name_width}}{cells}{_numbers([played.account], numbers)}")
    total = f"{count(len(sessions), 'session'):<{name_width + CELL * len(heads)}}"
    lines.append(style.paint(total, "bold") + _numbers([played.account for played in sessions], numbers))
    return "\n".join(lines)


def _block(played: Played, style: Style, width: int) -> str:
    report = played.report
    facts = [report["model"], report["mode"], count(played.steps, "step")]
    if played.seconds >= 1:
        facts.append(duration(played.seconds))
    if played.opened.parent:
        facts.insert(0, "sub-agent")
    told = " · ".join(str(f) for f in facts if f)
    between = "  " if len(played.session) + 2 + len(told) <= width else "\n  "
    head = f"{style.paint(played.session, 'bold')}{between}{style.paint(told, 'dim')}"
    rows = [(name, report["components"][name]) for name in COMPONENTS]
    lines = [_row(name, part, part["allocated_tokens"], style, width) for name, part in rows]
    overall = report["overall"]
    lines.append(_row("whole window", overall, overall["total_tokens"], style, width))
    sentences = [*_sentences(played, noted=_noted(width))]
    return "\n".join([head, *lines, *(_wrapped(sentence, width) for sentence in sentences)])


def _wrapped(sentence: str, width: int) -> str:
    return fill(sentence, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _noted(width: int) -> bool:
    """Whether there is room beside a bar for how often its component was exhausted."""
    return width >= ROW + LEAST_BAR + NOTE


def _row(name: str, part: dict[str, Any], budget: int, style: Style, width: int) -> str:
    noted = _noted(width)
    bar = style.bar(
        part["utilization_ratio"],
        min(BAR, max(LEAST_BAR, width - ROW - (NOTE if noted else 0))),
        mark=part["target"]["high"],
    )
    exhaustions = part.get("exhaustions", 0) if noted else 0
    shown = f"  {name:<19}{part['used_tokens']:>9,} of {budget:>9,}  "
    shown += style.paint(f"{bar} {_percent(part):>5} %  {part['status']:<8}", part["status"])
    return (shown + (f"  exhausted {count(exhaustions, 'time')}" if exhaustions else "")).rstrip()


def _sentences(played: Played, *, noted: bool) -> Iterable[str]:
    """What is told below the bars. `noted`: how often a component was exhausted stands beside its bar."""
    account, overall = played.account, played.report["overall"]
    parts = {name: part["exhaustions"] for name, part in played.report["components"].items()}
    if not noted and any(parts.values()):
        yield "exhausted: " + ", ".join(f"{name} {count(times, 'time')}" for name, times in parts.items() if times)
    if (peak := played.peak_tokens) > overall["used_tokens"]:
        yield f"at most {count(peak, 'token')} in the window, {100 * peak / max(overall['total_tokens'], 1):.0f} %"
    if requests := account.outcomes.total():
        outcomes = ", ".join(
            f"{number:,} {outcome.replace('_', ' ')}" for outcome, number in account.outcomes.most_common()
        )
        refused = f" ({count(account.refused_tokens, 'token')} refused)" if account.refused_tokens else ""
        yield f"{count(requests, 'request')}: {outcomes}{refused}"
    if cleanups := account.cleanups.total():
        triggers = ", ".join(f"{number:,} by {trigger}" for trigger, number in account.cleanups.most_common())
        steps = ", ".join(f"{step} {tokens:,}" for step, tokens in account.freed.most_common())
        yield f"{count(cleanups, 'cleanup')} ({triggers}) freed {count(account.freed.total(), 'token')}: {steps}"
    if account.compactions:
        yield f"{count(account.compactions, 'compaction')} seen"
    if overall["unattributed_tokens"]:
        yield f"{count(overall['unattributed_tokens'], 'token')} billed beyond what is known of the window"
    if overall["pending_tokens"]:
        yield f"{count(overall['pending_tokens'], 'token')} freed on the ledger and not confirmed yet"


def _numbers(accounts: Sequence[Account], names: Sequence[str]) -> str:
    sums = {
        "exhausted": sum(account.exhaustions.total() for account in accounts),
        "cleanups": sum(account.cleanups.total() for account in accounts),
        "freed": sum(account.freed.total() for account in accounts),
        "refused": sum(account.refused_tokens for account in accounts),
    }
    return "".join(f"{sums[name]:>{NUMBER},}" for name in names)


def _percent(part: dict[str, Any]) -> str:
    return f"{100 * part['utilization_ratio']:.0f}"
