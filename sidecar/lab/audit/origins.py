"""Where a piece of context comes from, in the words of the person who pays for it."""

from collections.abc import Mapping

from sidecar.lab.audit.tools import server_of
from sidecar.lab.audit.transcript import Piece

# What no tool has brought, by the kind of step.
_WORDS: Mapping[str, str] = {
    "system_prompt": "system prompt",
    "system_hidden": "hidden prompt and tools",
    "tool_definitions": "tool definitions",
    "project_instructions": "project instructions",
    "system_reminder": "reminders and hooks",
    "user_message": "your messages",
    "assistant_message": "the agent's messages",
    "thinking": "reasoning",
    "skill": "skills",
    "compaction": "compaction summaries",
    "file_read": "attached files",
    "doc": "documents",
    "plan": "plans",
    "subagent_call": "sub-agents",
    "subagent_report": "sub-agents",
}
_BY_TOOL = frozenset({"tool_call", "tool_result", "file_read", "doc", "plan", "subagent_call", "subagent_report"})


def origin_of(piece: Piece) -> str:
    """A tool by its name, with its MCP server's before it; everything else by what it is."""
    if piece.kind == "skill" or piece.skill is not None:
        return "skills"
    if piece.name is not None and piece.kind in _BY_TOOL:
        server = server_of(piece.name)
        return f"{server[0]} · {server[1]}" if server else piece.name
    if piece.kind == "system_reminder" and piece.name == "nested_memory":
        return "project instructions"
    return _WORDS.get(piece.kind, "other")
