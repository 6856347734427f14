"""An audit as JSON: every figure of every window, names and paths but no text."""

from dataclasses import asdict
from typing import Any

from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.summary import summary

FORMAT = "token-budget-audit/1"


def document(audit: Audit) -> dict[str, Any]:
    """The whole audit as plain values, in a stable order; sizes in tokens, times in seconds."""
    return {
        "format": FORMAT,
        "summary": summary(audit),
        "windows": [_window(asdict(window)) for window in audit.windows],
        "policies": [asdict(verdict) for verdict in audit.verdicts],
        "read": {
            "files": audit.files,
            "lines": audit.lines,
            "unknown": dict(audit.unknown),
            "broken_lines": audit.broken_lines,
            "broken": list(audit.broken),
            "foreign_files": audit.foreign_files,
            "foreign": list(audit.foreign),
        },
    }


def _window(window: dict[str, Any]) -> dict[str, Any]:
    window["rereads"] = list(window["rereads"].values())
    return window
