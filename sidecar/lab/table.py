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
WIDTH = 119  # of both, so that they fit the same terminal
HEADINGS = {
    "system_context": "system",
    "working_memory": "memory",
    "knowledge_base": "knowl.",
    "agent_context": "agents",
    "interaction_buffer": "talk",
}


def details(sessions: Iterable[Played], style: Style) -> str:
    """Write a block for each session: what fills its window, and what was done about it."""
    return "\n\n".join(_block(played, style) for played in sessions)


def overview(sessions: Sequence[Played], style: Style) -> str:
    """Write a line for each session, utilization in percent, and their sum."""
    heads = ["window", *(HEADINGS[component] for component in COMPONENTS)]
    numbers = ["exhausted", "cleanups", "freed", "refused"]
    head = "".join([*(f"{text:>{CELL}}" for text in heads), *(f"{text:>{NUMBER}}" for text in numbers)])
    lines = [style.paint(f"{'session':<{NAME}}{head}", "bold")]
    for played in sessions:
        name = ("  " if played.opened.parent else "") + played.session
        parts = [played.report["overall"], *(played.report["components"][component] for component in COMPONENTS)]
        cells = "".join(style.paint(f"{_percent(part):>{CELL}}", part["status"]) for part in parts)
        lines.append(f"{cut(name, NAME - 1):<{NAME}}{cells}{_numbers([played.account])}")
    total = f"{count(len(sessions), 'session'):<{NAME + CELL * len(heads)}}"
    lines.append(style.paint(total, "bold") + _numbers([played.account for played in sessions]))
    return "\n".join(lines)


def _block(played: Played, style: Style) -> str:
    report = played.report
    facts = [report["model"], report["mode"], count(played.steps, "step")]
    if played.seconds >= 1:
        facts.append(duration(played.seconds))
    if played.opened.parent:
        facts.insert(0, "sub-agent")
    head = f"{style.paint(played.session, 'bold')}  {style.paint(' · '.join(str(f) for f in facts if f), 'dim')}"
    rows = [(name, report["components"][name]) for name in COMPONENTS]
    lines = [_row(name, part, part["allocated_tokens"], style) for name, part in rows]
    overall = report["overall"]
    lines.append(_row("whole window", overall, overall["total_tokens"], style))
    return "\n".join([head, *lines, *(_wrapped(sentence) for sentence in _sentences(played))])


def _wrapped(sentence: str) -> str:
    return fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _row(name: str, part: dict[str, Any], budget: int, style: Style) -> str:
    bar = style.bar(part["utilization_ratio"], BAR, mark=part["target"]["high"])
    exhaustions = part.get("exhaustions", 0)
    shown = f"  {name:<19}{part['used_tokens']:>9,} of {budget:>9,}  "
    shown += style.paint(f"{bar} {_percent(part):>5} %  {part['status']:<8}", part["status"])
    return (shown + (f"  exhausted {count(exhaustions, 'time')}" if exhaustions else "")).rstrip()


def _sentences(played: Played) -> Iterable[str]:
    account, overall = played.account, played.report["overall"]
    if (peak := played.peak_tokens) > overall["used_tokens"]:
        yield f"at most {count(peak, 'token')} in the window, {100 * peak / max(overall['total_tokens'], 1):.0f} %"
    if requests := account.outcomes.total():
        outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in account.outcomes.most_common())
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


def _numbers(accounts: Sequence[Account]) -> str:
    sums = (
        sum(account.exhaustions.total() for account in accounts),
        sum(account.cleanups.total() for account in accounts),
        sum(account.freed.total() for account in accounts),
        sum(account.refused_tokens for account in accounts),
    )
    return "".join(f"{number:>{NUMBER},}" for number in sums)


def _percent(part: dict[str, Any]) -> str:
    return f"{100 * part['utilization_ratio']:.0f}"
