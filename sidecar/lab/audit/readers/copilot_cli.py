"""GitHub Copilot CLI: `~/.copilot/session-state/<session>/events.jsonl`, one line an event with its `data`.

It does not tell what was billed for a prompt, only what each message put out: sizes are estimates.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.audit.fields import compact, content, folder, name, obj, objects, text, time, tokens
from sidecar.lab.audit.tools import call_kind, path_of, result_kind, skill_of
from sidecar.lab.audit.transcript import Cut, Notes, Thread, reckon_hidden_thinking

# What begins so is told for display, or told again by another event.
SILENT = ("session.", "hook.", "permission.", "assistant.turn_", "tool.execution_", "subagent.", "abort", "skill.")


class CopilotCli:
    """Reads one session of Copilot CLI."""

    agent = "copilot-cli"

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins; its folder has the session's name, or in older versions the file itself."""
        self._notes = notes
        session = path.parent.name if path.name.startswith("events.") else path.name.partition(".")[0]
        self._thread = Thread(agent=self.agent, session=session)
        self._calls: dict[str, tuple[str, str | None]] = {}

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """The first event starts the session."""
        return line.get("type") == "session.start" and isinstance(line.get("data"), dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take an event of any type."""
        self._thread.clock = time(line.get("timestamp")) or self._thread.clock
        kind, data = text(line.get("type")), obj(line.get("data"))
        match kind:
            case "session.start":
                self._thread.session = name(data.get("sessionId")) or self._thread.session
                self._thread.root = folder(obj(data.get("context")).get("cwd"))
            case "session.compaction_complete":
                cut = Cut(before=tokens(data.get("preCompactionTokens")) or None)
                self._thread.add("compaction", "system", text(data.get("summaryContent")), cut=cut)
            case "system.message":
                self._thread.add("system_prompt", "system", text(data.get("content")))
            case "system.notification":
                self._thread.add("system_reminder", "user", text(data.get("content")))
            case "user.message":
                # As it was sent: with what the tool has put around it.
                self._thread.add(
                    "user_message", "user", text(data.get("transformedContent")) or text(data.get("content"))
                )
            case "assistant.message":
                self._message(data)
            case "tool.execution_complete":
                self._result(data)
            case _ if not kind.startswith(SILENT):
                self._notes.add_unknown(self.agent, kind or "no type")

    def threads(self) -> Iterable[Thread]:
        """The session's window: a file has one."""
        yield self._thread

    def labels(self) -> Mapping[str, str]:
        """A file names no sub-agents of its own."""
        return {}

    def _message(self, data: Mapping[str, Any]) -> None:
        written = []
        if "reasoningText" in data or "reasoningOpaque" in data:
            written.append(self._thread.add("thinking", "assistant", text(data.get("reasoningText"))))
        if shown := text(data.get("content")):
            written.append(self._thread.add("assistant_message", "assistant", shown))
        for request in objects(data.get("toolRequests")):
            tool, given = name(request.get("name")) or "unknown tool", request.get("arguments")
            path = path_of(tool, given)
            self._calls[text(request.get("toolCallId"))] = (tool, path)
            written.append(self._thread.add(call_kind(tool), "assistant", compact(given), name=tool, path=path))
        reckon_hidden_thinking(written, tokens(data.get("outputTokens")))

    def _result(self, data: Mapping[str, Any]) -> None:
        tool, path = self._calls.get(text(data.get("toolCallId")), ("unknown tool", None))
        told = obj(data.get("result")) or obj(data.get("error"))
        shown, images = content(told.get("content", told.get("message")))
        kind = result_kind(tool, path)
        skill = skill_of(path) if path and kind == "skill" else None
        self._thread.add(kind, "tool", shown, images=images, name=tool, path=path, skill=skill)
