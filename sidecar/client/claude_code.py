"""Claude Code: its hooks tell the sidecar what comes into the window, its status line shows how full it is.

    python -m sidecar.client.claude_code hook          the event on standard input, as Claude Code gives it
    python -m sidecar.client.claude_code statusline    prints one line
    python -m sidecar.client.claude_code settings      prints what settings.json needs for both

Claude Code lets nobody rewrite its history, so its sessions are observed ones: the sidecar counts, warns and advises,
and the program itself compacts. Nothing here may disturb it: whatever goes wrong, a hook says nothing and exits with 0,
and a sidecar that did not answer is left alone for some seconds by all hooks together. No text leaves the program,
only sizes.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sidecar.client.blocking import Client, Session
from sidecar.client.calls import Call, fresh_id
from sidecar.client.errors import Away, ClientError, Refused
from sidecar.client.tokens import estimate

AGENT = "claude-code"
TIMEOUT, REST = 0.1, 15.0  # seconds: what a hook may wait, and for how long none tries again
EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "PostToolUseFailure", "Stop", "SubagentStop", "SessionEnd")
KINDS = {"Read": "file", "NotebookRead": "file", "Task": "agent", "Agent": "agent", "Skill": "skill"}
SHOWN = {
    "system_context": "system",
    "working_memory": "working",
    "knowledge_base": "knowledge",
    "agent_context": "agents",
    "interaction_buffer": "talk",
}
COLORS = {"critical": "31", "high": "33", "moderate": "32", "low": "32"}


def hook(event: Mapping[str, Any], session: Session) -> dict[str, Any] | None:
    """Tell of one event. What it returns goes to Claude Code: a line for the user at most, never the model."""
    name, id = str(event.get("hook_event_name")), event["session_id"]
    match name:
        case "SessionStart":
            session.open()
            if event.get("source") in ("clear", "compact"):  # another history, of which nothing is known yet
                _tell(session, {"type": "sync_window", "items": []})
        case "UserPromptSubmit":
            session.open()
            _tell(session, _item(event.get("prompt_id"), "interaction", event.get("prompt")))
            return _warning(session)
        case "PostToolUse" | "PostToolUseFailure":
            if session.id != id:
                session.open()
            _tell(session, _tool_result(event))
        case "Stop" if event.get("last_assistant_message"):
            _tell(session, _item(None, "interaction", event["last_assistant_message"]))
        case "SubagentStop" if session.id != id:
            session.close()
        case "SessionEnd" if event.get("reason") != "clear":
            session.close()
    return None


def status_line(event: Mapping[str, Any], session: Session) -> str:
    """One line: the window, and each component's part of it. What Claude Code knows itself, it tells the sidecar."""
    window = event.get("context_window") or {}
    total, used = window.get("context_window_size"), _level(window.get("current_usage") or {})
    report: Any = None
    with contextlib.suppress(Refused):  # not heard of yet
        if used:
            _tell(session, {"type": "report_usage", "total": used, "source": "exact"})
        report = session.report()
        if total and report["overall"]["total_tokens"] != total:
            report = session.change(total_tokens=total)
    if report is None:
        return plain_line(event)
    overall = report["overall"]
    size = overall["total_tokens"] or 1
    parts = [f"{label} {_percent(report['components'][name]['used_tokens'] / size)}" for name, label in SHOWN.items()]
    if overall["unattributed_tokens"]:
        parts.append(f"other {_percent(overall['unattributed_tokens'] / size)}")
    calls = report["forecast"].get("eta_calls")
    if calls is not None:
        parts.append(f"full in {calls:,.0f} calls")
    head = f"window {_percent(overall['used_tokens'] / size)} of {size / 1000:,.0f}k"
    if not os.environ.get("NO_COLOR"):
        head = f"\x1b[{COLORS[overall['status']]}m{head}\x1b[0m"
    return " · ".join([head, *parts])


def plain_line(event: Mapping[str, Any]) -> str:
    """What can be said without the sidecar."""
    window = event.get("context_window") or {}
    total, used = window.get("context_window_size") or 200_000, _level(window.get("current_usage") or {})
    return f"window {_percent(used / total)} of {total / 1000:,.0f}k"


def settings() -> str:
    """What `settings.json` needs, as JSON."""
    import shlex

    command = f"{shlex.quote(sys.executable)} -m sidecar.client.claude_code"
    hooks = {name: [{"hooks": [{"type": "command", "command": f"{command} hook", "timeout": 5}]}] for name in EVENTS}
    telemetry = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    line = {"type": "command", "command": f"{command} statusline"}
    return json.dumps({"env": telemetry, "statusLine": line, "hooks": hooks}, indent=2)


# --- what an event tells --------------------------------------------------------------------------------------------


def _session(event: Mapping[str, Any], client: Client) -> Session:
    """The window that an event belongs to; a sub-agent has its own, under the name that telemetry gives it too."""
    id, part = str(event["session_id"]), event.get("agent_id")
    model = event.get("model")
    named = model.get("id") if isinstance(model, dict) else model
    opening = {"mode": "observed", "model": named, "preset": "coding-agent"}  # as telemetry opens it
    if part:
        return client.session(f"{id}.{part}", agent=str(event.get("agent_type") or AGENT), parent=id, **opening)
    return client.session(id, agent=AGENT, **opening)


def _tell(session: Session, fact: Mapping[str, Any]) -> None:
    """Tell a fact in one request: the session was opened by an earlier hook, or is by this fact."""
    body = [{"session": session.id, "id": fresh_id(), **fact}]
    call: Call[Any] = Call(method="POST", path="/v1/events", body=body, opens=True)
    session.run(call)


def _item(id: Any, kind: str, content: Any, **more: Any) -> dict[str, Any]:
    tokens = sum(map(estimate, _texts(content)))
    return {"type": "put_item", "item": {"id": str(id or fresh_id()), "kind": kind, "tokens": tokens, **more}}


def _tool_result(event: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's call and its result, as one item: they come and go together."""
    given = event.get("tool_input") or {}
    kind = KINDS.get(str(event.get("tool_name")), "tool_result")
    more = {"path": str(given["file_path"])} if kind == "file" and given.get("file_path") else {}
    result = event.get("tool_response", event.get("error"))
    return _item(event.get("tool_use_id"), kind, [given, result], **more)


def _texts(value: Any) -> Iterator[str]:
    """All text in what a tool was given or answered."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _level(usage: Mapping[str, Any]) -> int:
    """The whole input of the last call: what was cached is counted beside the rest."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(int(usage.get(part) or 0) for part in parts)


def _warning(session: Session) -> dict[str, Any] | None:
    report = session.report()
    overall = report["overall"]
    if overall["status"] != "critical":
        return None
    free = sum(each.get("reclaimable_tokens") or 0 for each in report["components"].values())
    advice = f", {free:,} of them to be spared by a cleanup" if free else ""
    full = _percent(overall["utilization_ratio"])
    return {"systemMessage": f"The window is {full} full ({overall['used_tokens']:,} tokens{advice}): /compact soon."}


def _percent(ratio: float) -> str:
    return f"{ratio:.0%}"


# --- the commands ---------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Run one command; 2 where it is none of the three."""
    if arguments == ["settings"]:
        sys.stdout.write(f"{settings()}\n")
        return 0
    if arguments not in (["hook"], ["statusline"]):
        sys.stderr.write(__doc__ or "")
        return 2
    said = ""
    with contextlib.suppress(Exception):  # never the agent's trouble
        event = json.load(sys.stdin)
        said = _plainly(event) if arguments == ["statusline"] else ""
        said = _run(arguments[0], event) or said
    if said:
        sys.stdout.write(f"{said}\n")
    return 0


def _plainly(event: Mapping[str, Any]) -> str:
    return f"{plain_line(event)} · no sidecar"


def _run(command: str, event: Mapping[str, Any]) -> str:
    stamp = Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".claude") / "token-budget-away"
    with contextlib.suppress(OSError):
        if 0 <= time.time() - stamp.stat().st_mtime < REST:
            return ""
    with Client(timeout=TIMEOUT, fail="closed") as client:
        session = _session(event, client)
        try:
            if command == "statusline":
                return status_line(event, session)
            answer = hook(event, session)
            return json.dumps(answer) if answer else ""
        except Away:
            stamp.touch()
        except ClientError:
            pass
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
