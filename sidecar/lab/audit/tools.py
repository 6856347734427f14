"""What a tool's name and arguments say about what it brings into a window. One table for all agents."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from sidecar.lab.audit.fields import name, obj, text

PLANS = frozenset({"todowrite", "taskcreate", "taskupdate", "update_plan", "exitplanmode", "write_todos", "todo"})
SUB_AGENTS = frozenset({"task", "agent", "spawn_agent", "delegate_to_agent", "subagent"})
SKILLS = frozenset({"skill", "activate_skill"})
READS = frozenset({"read", "read_file", "view", "notebookread", "read_many_files"})
DOCS = frozenset({"webfetch", "websearch", "web_fetch", "google_web_search", "web_search"})
SHELLS = frozenset(
    {"bash", "shell", "exec_command", "shell_command", "local_shell", "run_shell_command", "container.exec"}
)
DOC_FILE = re.compile(r"\.(md|mdx|rst|txt|adoc|pdf)$", re.IGNORECASE)
SKILL_FILE = re.compile(r"([^/\\]+)[/\\]SKILL\.md$")
MCP = re.compile(r"mcp__(.+?)__(.+)$")
# How an agent that has only a shell reads a file: one command, one file, nothing written.
_SHOWS = frozenset({"cat", "head", "tail", "nl", "less", "more", "bat", "sed"})
_PATH_FIELDS = ("file_path", "path", "notebook_path", "filePath", "absolute_path", "filename")


def path_of(tool: str, arguments: Any) -> str | None:
    """The file that a call is about, where its arguments name exactly one."""
    given = obj(arguments)
    for field in _PATH_FIELDS:
        if (found := name(given.get(field))) is not None:
            return found
    return shown_by(given) if tool.lower() in SHELLS else None


def shown_by(arguments: Mapping[str, Any]) -> str | None:
    """The file that a shell command shows, if that is all it does."""
    command = arguments.get("cmd", arguments.get("command"))
    if isinstance(command, list):  # ["bash", "-lc", "..."]
        command = command[-1] if command else None
    if text(command).lstrip().partition(" ")[0] not in _SHOWS:  # most are none: splitting takes its time
        return None
    try:
        words = shlex.split(text(command)[:2_000])
    except ValueError:
        return None
    if "-i" in words:
        return None
    if "|" in words:
        words = words[: words.index("|")]
    if any(word in {";", "&&", "||", ">", ">>", "<"} or word.endswith(";") for word in words):
        return None
    files = [word for word in words[1:] if not word.startswith("-") and not word.isdigit()]
    if words[0] == "sed":
        files = files[1:]  # the script comes first
    # What the shell would still have to work out is no path.
    return name(files[0]) if len(files) == 1 and not set(files[0]) & set("$`*?<>(){};&|\n") else None


def call_kind(tool: str) -> str:
    """The kind of step that a call of this tool is."""
    lower = tool.lower()
    if lower in PLANS:
        return "plan"
    return "subagent_call" if lower in SUB_AGENTS else "tool_call"


def result_kind(tool: str, path: str | None) -> str:
    """The kind of step that the result of this tool is."""
    lower = tool.lower()
    if lower in PLANS:
        return "plan"
    if lower in SUB_AGENTS:
        return "subagent_report"
    if lower in SKILLS or (path and skill_of(path)):
        return "skill"
    if lower in DOCS:
        return "doc"
    if lower in READS or (lower in SHELLS and path):
        return "doc" if path and DOC_FILE.search(path) else "file_read"
    return "tool_result"


def skill_of(path: str) -> str | None:
    """The skill whose instructions a file is: they are called SKILL.md, in a folder of the skill's name."""
    found = SKILL_FILE.search(path)
    return found.group(1) if found else None


def server_of(tool: str) -> tuple[str, str] | None:
    """The MCP server that a tool is of, and what it is called there; None for the agent's own tools."""
    found = MCP.match(tool)
    return (found.group(1), found.group(2)) if found else None
