"""Claude Code: `~/.claude/projects/<project>/<session>.jsonl`, one line an entry of the conversation.

Each line wraps a message in the shape of Anthropic's Messages API. One model call may fill several lines, all with the
same message id and the same usage, with the results of its first tools in between. Sub-agents write lines marked
`isSidechain`, into the session's file (older versions) or files of their own. A compaction is a `compact_boundary`
followed by the summary. The format is not documented by its maker: what is unknown is counted and left out.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.audit.fields import compact, content, folder, name, obj, objects, text, time, tokens
from sidecar.lab.audit.tools import call_kind, path_of, result_kind, skill_of
from sidecar.lab.audit.transcript import Bill, Cut, Notes, Piece, Thread, reckon_hidden_thinking

# Lines and attachments that put nothing into the window.
SILENT = frozenset(
    {
        "summary",
        "custom-title",
        "agent-name",
        "ai-title",
        "permission-mode",
        "mode",
        "file-history-snapshot",
        "file-history-delta",
        "queue-operation",
        "last-prompt",
        "progress",
        "pr-link",
        "tag",
        "worktree-state",
        "agent-color",
        "agent-setting",
    }
)
UNSENT = frozenset(
    {
        "command_permissions",
        "hook_system_message",
        "hook_cancelled",
        "hook_non_blocking_error",
        "dynamic_skill",
        "already_read_file",
        "compact_file_reference",
    }
)
SKILL_TEXT = "Base directory for this skill"
LAUNCHED = "Launching skill: "
SYNTHETIC = "<synthetic>"  # the tool's own words in the model's place, e.g. an error: nothing was called
COMMAND = "<command-name>"


class ClaudeCode:
    """Reads one file of Claude Code."""

    agent = "claude-code"

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins; its name is the session's, or `agent-<id>` for a sub-agent's."""
        self._path = path
        self._notes = notes
        self._threads: dict[str | None, Thread] = {}
        self._session: str | None = None
        self._root: str | None = None
        self._owner: dict[str, str] = {}  # uuid of a sidechain's line -> the window it is in
        self._calls: dict[str, tuple[str, str | None, str | None]] = {}  # call id -> tool, path, skill or sub-agent
        self._written: dict[tuple[str | None, str], list[Piece]] = {}  # window, message id -> what it wrote
        self._boundary: dict[str | None, Cut] = {}
        self._skill: dict[str | None, str] = {}  # the skill whose text comes next
        self._labels: dict[str, str] = {}
        self._time: float | None = None

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """Every line of a conversation names its session, in these letters."""
        return isinstance(line.get("sessionId"), str) and "type" in line

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line of any type."""
        self._session = self._session or name(line.get("sessionId"))
        self._root = self._root or folder(line.get("cwd"))
        self._time = time(line.get("timestamp")) or self._time
        kind = text(line.get("type"))
        handlers: dict[str, Callable[[Mapping[str, Any], Thread], None]] = {
            "user": self._user,
            "assistant": self._assistant,
            "attachment": self._attachment,
            "system": self._system,
        }
        if kind in handlers:
            handlers[kind](line, self._thread(line))
        elif kind not in SILENT:
            self._notes.add_unknown(self.agent, kind or "no type")

    def threads(self) -> Iterable[Thread]:
        """The session's window, and those of sub-agents that wrote into the same file."""
        for within, thread in self._threads.items():
            if (cut := self._boundary.get(within)) is not None:  # it ended before a summary was written
                thread.pieces.append(Piece(kind="compaction", role="system", counted=0, time=self._time, cut=cut))
            thread.session = self._session or self._path.stem
            thread.label = thread.label or self._labels.get(within or "")
            yield thread

    def labels(self) -> Mapping[str, str]:
        """The types of the sub-agents that this file started, by the window's name."""
        return self._labels

    def _thread(self, line: Mapping[str, Any]) -> Thread:
        within = None
        if line.get("isSidechain") is True:
            uuid, parent = text(line.get("uuid")), text(line.get("parentUuid"))
            within = name(line.get("agentId")) or self._owner.get(parent) or uuid[:8] or "unnamed"
            self._owner[uuid] = within
        if within not in self._threads:
            self._threads[within] = Thread(agent=self.agent, session="", within=within)
        self._threads[within].clock, self._threads[within].root = self._time, self._root
        return self._threads[within]

    # --- what the user and the tools say ----------------------------------------------------------------------------

    def _user(self, line: Mapping[str, Any], thread: Thread) -> None:
        said = obj(line.get("message")).get("content")
        blocks = list(objects(said))
        results = [block for block in blocks if block.get("type") == "tool_result"]
        for block in results:
            self._result(block, obj(line.get("toolUseResult")), thread)
        rest = said if isinstance(said, str) else [block for block in blocks if block.get("type") != "tool_result"]
        shown, images = content(rest)
        if not shown and not images:
            return
        if line.get("isCompactSummary") is True:
            cut = self._boundary.pop(thread.within, Cut())
            thread.add("compaction", "system", shown, cut=cut)
        elif line.get("isMeta") is True:
            skill = self._skill.pop(thread.within, None) if shown.startswith(SKILL_TEXT) else None
            if shown.startswith(SKILL_TEXT):
                thread.add("skill", "user", shown, skill=skill or _folder(shown))
            else:
                thread.add("system_reminder", "user", shown, images=images)
        elif shown.startswith("<local-command-"):
            thread.add("system_reminder", "user", shown)
        else:
            if COMMAND in shown[:400]:
                command = name(shown.partition(COMMAND)[2].partition("<")[0])
                if command:
                    self._skill[thread.within] = command.lstrip("/")
            thread.add("user_message", "user", shown, images=images)

    def _result(self, block: Mapping[str, Any], told: Mapping[str, Any], thread: Thread) -> None:
        call = text(block.get("tool_use_id"))
        tool, path, about = self._calls.get(call, ("unknown tool", None, None))
        shown, images = content(block.get("content"))
        kind = result_kind(tool, path)
        if kind == "skill":
            launched = name(shown[len(LAUNCHED) :]) if shown.startswith(LAUNCHED) else None
            self._skill[thread.within] = launched or about or (path and skill_of(path)) or "unnamed"
            about = self._skill[thread.within]
        if kind == "subagent_report" and (started := name(told.get("agentId"))) is not None and about:
            self._labels[started] = about
        skill = about if kind == "skill" else None
        thread.add(kind, "tool", shown, images=images, name=tool, path=path, skill=skill)

    # --- what the model says ----------------------------------------------------------------------------------------

    def _assistant(self, line: Mapping[str, Any], thread: Thread) -> None:
        message = obj(line.get("message"))
        written: list[Piece] = []
        said = message.get("content")
        for block in [{"type": "text", "text": said}] if isinstance(said, str) else objects(said):
            kind = text(block.get("type"))
            if kind == "text":
                written.append(thread.add("assistant_message", "assistant", text(block.get("text"))))
            elif kind in {"thinking", "redacted_thinking"}:
                written.append(thread.add("thinking", "assistant", text(block.get("thinking"))))
            elif kind in {"tool_use", "server_tool_use", "mcp_tool_use"}:
                written.append(self._call(block, thread))
            else:  # the results of tools that the provider runs, and what is new
                shown = compact(block.get("content"))
                written.append(thread.add("tool_result", "assistant", shown, name=name(kind)))
        self._charge(thread, text(message.get("id")), message, written)

    def _call(self, block: Mapping[str, Any], thread: Thread) -> Piece:
        tool, given = name(block.get("name")) or "unknown tool", block.get("input")
        path = path_of(tool, given)
        about = name(obj(given).get("skill")) or name(obj(given).get("subagent_type"))
        self._calls[text(block.get("id"))] = (tool, path, about)
        return thread.add(call_kind(tool), "assistant", compact(given), name=tool, path=path)

    def _charge(self, thread: Thread, message: str, body: Mapping[str, Any], written: list[Piece]) -> None:
        """Put what was billed on the last piece of the call: its lines repeat the usage, the last is final."""
        usage, model = obj(body.get("usage")), name(body.get("model"))
        if not written or model == SYNTHETIC or not usage:
            return
        if message:
            before = self._written.setdefault((thread.within, message), [])
            for piece in before:
                piece.bill = None
            before += written
            written = before
        bill = Bill(
            fresh=tokens(usage.get("input_tokens")),
            written=tokens(usage.get("cache_creation_input_tokens")),
            cached=tokens(usage.get("cache_read_input_tokens")),
            output=tokens(usage.get("output_tokens")),
            model=model,
        )
        if bill.prompt:
            written[-1].bill = bill
            reckon_hidden_thinking(written, bill.output)

    # --- what the tool itself puts in -------------------------------------------------------------------------------

    def _system(self, line: Mapping[str, Any], thread: Thread) -> None:
        if line.get("subtype") == "compact_boundary":
            told = obj(line.get("compactMetadata"))
            self._boundary[thread.within] = Cut(
                trigger=name(told.get("trigger")), before=tokens(told.get("preTokens")) or None
            )
        elif line.get("subtype") == "local_command":
            thread.add("system_reminder", "user", text(line.get("content")))

    def _attachment(self, line: Mapping[str, Any], thread: Thread) -> None:
        told = obj(line.get("attachment"))
        kind = name(told.get("type")) or "no type"
        path = name(told.get("path")) or name(told.get("filename"))
        inner = told.get("content")
        match kind:
            case "nested_memory":
                shown = text(obj(inner).get("content")) or text(inner)
                thread.add("system_reminder", "user", shown, name=kind, path=path)
            case "file" | "edited_text_file" | "selected_lines_in_ide":
                shown = text(obj(obj(inner).get("file")).get("content")) or text(told.get("snippet")) or text(inner)
                thread.add("file_read", "user", shown, path=path, name="attached file")
            case "skill_listing" | "invoked_skills":
                thread.add("skill", "user", compact(inner or told.get("skills")), skill="(list of skills)")
            case "deferred_tools_delta":
                thread.add("tool_definitions", "system", "\n".join(_texts(told.get("addedLines"))))
            case "mcp_instructions_delta":
                thread.add("tool_definitions", "system", "\n".join(_texts(told.get("addedBlocks"))))
            case "queued_command":
                thread.add("user_message", "user", content(told.get("prompt"))[0])
            case _ if kind in UNSENT:
                pass
            case _:  # reminders, hooks, and what is new: what they say is in `content`, a text or an array
                shown = (
                    inner if isinstance(inner, str) else "\n".join(_texts(inner)) or (compact(inner) if inner else "")
                )
                if shown:
                    thread.add("system_reminder", "user", shown, name=kind)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _folder(shown: str) -> str:
    """The last folder of the path that a skill's text begins with."""
    return name(shown.partition("\n")[0].rstrip("/").rpartition("/")[2]) or "unnamed"
