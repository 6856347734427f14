"""pi: `~/.pi/agent/sessions/<project>/<time>_<id>.jsonl`, a header and lines that form a tree.

Branches are read in the order of the file, as if they were one conversation. A compaction keeps the newest messages;
they are counted with its summary's window only from their next use on.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.audit.fields import compact, content, folder, name, obj, objects, text, time, tokens
from sidecar.lab.audit.tools import call_kind, path_of, result_kind, skill_of
from sidecar.lab.audit.transcript import Bill, Cut, Notes, Thread

SILENT = frozenset({"model_change", "thinking_level_change", "session_info", "label", "custom", "leaf"})


class Pi:
    """Reads one session of pi."""

    agent = "pi"

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins; its name ends in the session's id."""
        self._notes = notes
        self._thread = Thread(agent=self.agent, session=path.name.partition(".")[0].rpartition("_")[2])
        self._calls: dict[str, tuple[str, str | None]] = {}

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """The first line is the session's header."""
        return line.get("type") == "session" and "cwd" in line

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line of any type."""
        self._thread.clock = time(line.get("timestamp")) or self._thread.clock
        kind = text(line.get("type"))
        if kind == "session":
            self._thread.session = name(line.get("id")) or self._thread.session
            self._thread.root = folder(line.get("cwd"))
        elif kind == "message":
            self._message(obj(line.get("message")))
        elif kind == "custom_message":
            shown, images = content(line.get("content"))
            self._thread.add("system_reminder", "user", shown, images=images)
        elif kind == "compaction":
            cut = Cut(before=tokens(line.get("tokensBefore")) or None)
            self._thread.add("compaction", "system", text(line.get("summary")), cut=cut)
        elif kind == "branch_summary":
            self._thread.add("system_reminder", "user", text(line.get("summary")))
        elif kind not in SILENT:
            self._notes.add_unknown(self.agent, kind or "no type")

    def threads(self) -> Iterable[Thread]:
        """The session's window: a file has one."""
        yield self._thread

    def labels(self) -> Mapping[str, str]:
        """A file names no sub-agents of its own."""
        return {}

    def _message(self, message: Mapping[str, Any]) -> None:
        role = text(message.get("role"))
        if role == "user":
            shown, images = content(message.get("content"))
            self._thread.add("user_message", "user", shown, images=images)
        elif role == "assistant":
            self._assistant(message)
        elif role == "toolResult":
            call = self._calls.get(text(message.get("toolCallId")))
            tool, path = call or (name(message.get("toolName")) or "unknown tool", None)
            shown, images = content(message.get("content"))
            skill = skill_of(path) if path else None
            self._thread.add(result_kind(tool, path), "tool", shown, images=images, name=tool, path=path, skill=skill)
        elif role == "bashExecution" and message.get("excludeFromContext") is not True:
            shown = f"{text(message.get('command'))}\n{text(message.get('output'))}"
            self._thread.add("tool_result", "tool", shown, name="your own shell commands")

    def _assistant(self, message: Mapping[str, Any]) -> None:
        last = None
        for block in objects(message.get("content")):
            kind = block.get("type")
            if kind == "text":
                last = self._thread.add("assistant_message", "assistant", text(block.get("text")))
            elif kind == "thinking":
                last = self._thread.add("thinking", "assistant", text(block.get("thinking")))
            elif kind == "toolCall":
                tool, given = name(block.get("name")) or "unknown tool", block.get("arguments")
                path = path_of(tool, given)
                self._calls[text(block.get("id"))] = (tool, path)
                last = self._thread.add(call_kind(tool), "assistant", compact(given), name=tool, path=path)
        usage = obj(message.get("usage"))
        bill = Bill(
            fresh=tokens(usage.get("input")),
            written=tokens(usage.get("cacheWrite")),
            cached=tokens(usage.get("cacheRead")),
            output=tokens(usage.get("output")),
            model=name(message.get("model")),
        )
        if last is not None and bill.prompt:
            last.bill = bill
