"""Restore on demand: two tools that let the model look for what was archived, and bring it back (SPEC 3.5).

`TOOLS` defines them as JSON Schema, for any framework; `search` and `restore` are what they do, each a course of calls
that ends in a text for the model.
"""

import json
from collections.abc import Generator
from typing import Any

from sidecar.client.calls import Call, SessionCalls
from sidecar.client.errors import Away, Refused
from sidecar.client.replies import ArchivePage, ArchiveRecord, RestoreReply
from sidecar.client.window import Window

SEARCH, RESTORE = "search_archive", "restore_from_archive"
FOUND = 20
NOWHERE = "This conversation has no archive."

TOOLS: tuple[dict[str, Any], ...] = (
    {
        "name": SEARCH,
        "description": (
            "List what was archived from this conversation to save room, or only what contains a text. "
            "Answers ids, kinds and sizes."
        ),
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "Text to look for; empty lists everything."}},
        },
    },
    {
        "name": RESTORE,
        "description": "Bring an archived item of this conversation back, by its id, if there is room for it.",
        "parameters": {
            "type": "object",
            "properties": {"item": {"type": "string", "description": "The id, as a note or a search names it."}},
            "required": ["item"],
        },
    },
)

Telling = Generator[Call[Any], Any, str]


def argument(arguments: str, name: str) -> str:
    """One argument of a tool's call, as the model wrote it; empty where it did not."""
    try:
        return str(json.loads(arguments or "{}").get(name, ""))
    except (ValueError, AttributeError):
        return ""


def search(session: SessionCalls, query: str = "") -> Telling:
    """What is archived, a line each."""
    try:
        page: ArchivePage = yield SessionCalls.archive.describe(session, q=query or None, limit=FOUND)
    except Away:
        return "The archive cannot be reached right now. Try again later."
    except Refused as refused:
        return f"The archive was not searched: {refused.detail}"
    lines = [
        f"{each['id']}: {each['kind']}, {each['tokens_before']:,} tokens, archived at {each['archived_at']}"
        f" ({each['reason']})"
        for each in page["items"]
    ]
    if page["next"] is not None:
        lines.append("There are more: search for a text to narrow them down.")
    return "\n".join(lines) or "Nothing that fits was archived."


def restore(session: SessionCalls, item: str, window: Window | None = None) -> Telling:
    """Bring an item back: into its place in the window where the adapter holds one, else as the text of the answer."""
    try:
        reply: RestoreReply = yield SessionCalls.restore.describe(session, item)
    except Away:
        return "The archive cannot be reached right now. Try again later."
    except Refused as refused:
        return f"Item {item!r} was not restored: {refused.detail}"
    record: ArchiveRecord = reply["item"]
    if reply["outcome"] == "denied":
        return (
            f"There is no room for item {item!r}: it takes {record['tokens_before']:,} tokens, and "
            f"{reply['available_tokens']:,} are left in {reply['component']}."
        )
    if window is not None and window.bring_back(item):
        return f"Item {item!r} is back in its place in this conversation."
    return record.get("content") or f"Item {item!r} is restored, but its text was not kept."
