"""What was decided, in one line a decision; what is routine is left out."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sidecar.lab.style import count

TRIGGERS = {
    "allocation": "to make room",
    "target": "having crossed its target",
    "prediction": "before a predicted need",
    "manual": "on request",
}


def tell(entry: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: C901, PLR0911, PLR0912 - a line an entry
    """An entry in words, and the status in whose colour it is told; None if it is routine."""
    component = str(entry.get("component", "")).replace("_", " ")
    match entry["type"]:
        case "opened":
            return f"opened, {entry['mode']}, {entry['total_tokens']:,} tokens", ""
        case "closed":
            return "closed", ""
        case "exhausted":
            what = "asked for" if entry["by"] == "request" else "came in"
            return f"{component} exhausted: {entry['tokens']:,} {what}, {entry['available_tokens']:,} left", "high"
        case "allocated":
            return _allocated(entry, component)
        case "cleaned_up":
            steps = Counter(action["step"].replace("_", " ") for action in entry["actions"])
            how = ", ".join(f"{step} ({count(items, 'item')})" for step, items in steps.items())
            return f"{component} cleaned up {TRIGGERS[entry['trigger']]}: {how}, {entry['tokens_freed']:,} freed", "low"
        case "calibrated":
            return f"measured at {entry['ratio']:.2f} provider tokens for each counted one", "moderate"
        case "compacted":
            return f"compacted by its host: {entry['tokens_before']:,} to {entry['tokens_after']:,} tokens", "moderate"
        case "directives_confirmed":
            return f"the agent applied {count(len(entry['numbers']), 'directive')}", "low"
        case "directives_undone":
            return f"{count(len(entry['numbers']), 'directive')} undone: {entry['why']}", "high"
        case "shares_adjusted":
            changed = [
                f"{name.replace('_', ' ')} {100 * entry['before'][name]:.1f} to {100 * share:.1f} %"
                for name, share in entry["after"].items()
                if share != entry["before"][name]
            ]
            return f"shares adjusted: {', '.join(changed)}", "moderate"
        case "tasks_planned":
            return f"predicted the needs of {count(len(entry['tasks']), 'task')}", ""
        case "task_completed":
            return f"task {entry['task']} is done", "low"
        case "learned" if entry.get("shares"):
            return f"the next sessions of {entry['agent']} start from other shares", "moderate"
        case _:
            return None


def _allocated(entry: Mapping[str, Any], component: str) -> tuple[str, str] | None:
    tokens, granted = f"{entry['requested']:,} tokens", f"{entry['granted']:,}"
    match entry["outcome"]:
        case "full":
            return None
        case "partial":
            return f"{component}: {granted} of {tokens} granted", "high"
        case "denied":
            return f"{component}: {tokens} refused, {entry['available_tokens']:,} available", "critical"
        case "borrowed":
            return f"{component}: {tokens} granted, some of them borrowed", "moderate"
        case _:
            return f"{component}: {tokens} granted after a cleanup", "low"
