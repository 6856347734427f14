"""Codex CLI: `~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl`, lines of `timestamp`, `type` and `payload`.

`response_item` lines are what the model is sent and sends; `event_msg` lines repeat them for display and add what only
they know: `token_count` after each model call, and which file a shell command showed. `compacted` replaces what came
before. The oldest rollouts have no envelope: their lines are the items themselves.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.audit.fields import compact, content, folder, name, obj, objects, text, time, tokens
from sidecar.lab.audit.tools import call_kind, path_of, result_kind, skill_of
from sidecar.lab.audit.transcript import Bill, Cut, Notes, Thread

SILENT = frozenset({"world_state", "ghost_snapshot", "session_state", "inter_agent_communication"})
SHOWN = frozenset({"read"})  # parsed commands that show a file
CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "tool_search_output"})
# How texts in the user's and the developer's place begin that neither has written.
SLIPPED_IN = (
    ("<environment_context>", "system_reminder"),
    ("<skills_instructions>", "skill"),
    ("<skill>", "skill"),
    ("<user_instructions>", "project_instructions"),
    ("# AGENTS.md instructions", "project_instructions"),
    ("<turn_aborted>", "system_reminder"),
    ("<subagent_notification>", "system_reminder"),
)


class Codex:
    """Reads one rollout."""

    agent = "codex"

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins; its name ends in the session's id."""
        self._notes = notes
        self._thread = Thread(agent=self.agent, session=path.name.partition(".")[0].removeprefix("rollout-"))
        self._calls: dict[str, tuple[str, str | None]] = {}  # call id -> tool, path
        self._model: str | None = None
        self._seen = 0  # pieces that were there at the last bill
        self._billed: Any = None
        self._prompt: int | None = None

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """An envelope with a payload; or, in the oldest, a header with the session's id and instructions."""
        enveloped = isinstance(line.get("payload"), dict) and isinstance(line.get("type"), str)
        return enveloped or ("instructions" in line and "id" in line and "timestamp" in line)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line of any type."""
        self._thread.clock = time(line.get("timestamp")) or self._thread.clock
        payload = obj(line["payload"]) if "payload" in line else line
        kind = text(line.get("type"))
        if kind == "session_meta" or ("instructions" in line and "id" in line):
            self._meta(payload)
        elif kind == "turn_context":
            self._model = name(payload.get("model")) or self._model
        elif kind == "compacted":
            self._compacted(payload)
        elif kind == "event_msg":
            self._event(payload)
        elif kind == "response_item" or "payload" not in line:
            self._item(payload)
        elif kind not in SILENT:
            self._notes.add_unknown(self.agent, kind or "no type")

    def threads(self) -> Iterable[Thread]:
        """The session's window: a rollout has one."""
        yield self._thread

    def labels(self) -> Mapping[str, str]:
        """A rollout names no sub-agents of its own."""
        return {}

    def _meta(self, told: Mapping[str, Any]) -> None:
        if self._thread.pieces:  # a forked session repeats the header of the one that it came from
            return
        self._thread.session = name(told.get("id")) or self._thread.session
        self._thread.root = folder(told.get("cwd"))
        spawned = obj(obj(obj(told.get("source")).get("subagent")).get("thread_spawn"))
        self._thread.parent = name(spawned.get("parent_thread_id")) or name(told.get("parent_thread_id"))
        self._thread.label = name(spawned.get("agent_role")) or name(told.get("agent_role"))
        base = told.get("base_instructions", told.get("instructions"))
        if shown := text(obj(base).get("text")) or text(base):
            self._thread.add("system_prompt", "system", shown)

    def _item(self, item: Mapping[str, Any]) -> None:
        kind = text(item.get("type"))
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":  # its text is encrypted; the summary is for people
            self._thread.add("thinking", "assistant", "")
        elif kind in CALLS:
            self._call(kind, item)
        elif kind in OUTPUTS:
            self._output(item)
        elif kind and kind not in SILENT and kind not in {"compaction", "compaction_summary"}:
            self._notes.add_unknown(self.agent, "response_item", kind)

    def _message(self, item: Mapping[str, Any]) -> None:
        role = text(item.get("role"))
        if role == "assistant":
            self._thread.add("assistant_message", "assistant", content(item.get("content"))[0])
            return
        usual = "user_message" if role == "user" else "system_prompt"
        said = item.get("content")
        for block in [{"type": "text", "text": said}] if isinstance(said, str) else objects(said):
            shown, images = content([block])
            kind = next((kind for start, kind in SLIPPED_IN if shown.lstrip().startswith(start)), usual)
            skill = "(list of skills)" if kind == "skill" else None
            self._thread.add(kind, "user" if role == "user" else "system", shown, images=images, skill=skill)

    def _call(self, kind: str, item: Mapping[str, Any]) -> None:
        tool = name(item.get("name")) or kind.removesuffix("_call")
        space = name(item.get("namespace"))
        if space and space.startswith("mcp__"):
            tool = f"{space.rstrip('_')}__{tool}"
        given = item.get("arguments", item.get("input", item.get("action")))
        path = path_of(tool, _parsed(given))
        self._calls[text(item.get("call_id"))] = (tool, path)
        self._thread.add(call_kind(tool), "assistant", compact(given), name=tool, path=path)

    def _output(self, item: Mapping[str, Any]) -> None:
        tool, path = self._calls.get(text(item.get("call_id")), ("unknown tool", None))
        given = item.get("output")
        if isinstance(given, dict):
            given = given.get("content", given.get("output"))
        shown, images = content(given)
        kind = result_kind(tool, path)
        skill = skill_of(path) if path and kind == "skill" else None
        shown = shown if shown or images else compact(given)
        self._thread.add(kind, "tool", shown, images=images, name=tool, path=path, skill=skill)

    def _event(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "token_count":
            self._charge(obj(event.get("info")))
        elif kind == "task_started":
            self._thread.limit = tokens(event.get("model_context_window")) or self._thread.limit
        elif kind == "exec_command_end":
            shown = [each for each in objects(event.get("parsed_cmd")) if text(each.get("type")) in SHOWN]
            call = text(event.get("call_id"))
            if len(shown) == 1 and call in self._calls and (path := name(shown[0].get("path"))):
                self._calls[call] = (self._calls[call][0], path)

    def _charge(self, info: Mapping[str, Any]) -> None:
        """Put what was billed on what the model wrote last; a count that is only told again is the same call."""
        self._thread.limit = tokens(info.get("model_context_window")) or self._thread.limit
        usage, total = obj(info.get("last_token_usage")), info.get("total_token_usage")
        prompt, cached = tokens(usage.get("input_tokens")), tokens(usage.get("cached_input_tokens"))
        last = next((each for each in reversed(self._thread.pieces[self._seen :]) if each.role == "assistant"), None)
        if not prompt or last is None or (total is not None and total == self._billed):
            return
        self._billed, self._prompt = total, prompt
        cached = min(cached, prompt)
        last.bill = Bill(
            fresh=prompt - cached, cached=cached, output=tokens(usage.get("output_tokens")), model=self._model
        )
        self._seen = len(self._thread.pieces)

    def _compacted(self, told: Mapping[str, Any]) -> None:
        kept = [content(each.get("content"))[0] for each in objects(told.get("replacement_history"))]
        shown = "\n".join(filter(None, [text(told.get("message")), *kept]))
        self._thread.add("compaction", "system", shown, cut=Cut(before=self._prompt))


def _parsed(given: Any) -> Any:
    """Arguments are JSON in a text, or free text."""
    if not isinstance(given, str) or not given.startswith("{"):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given
