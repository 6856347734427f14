"""What the sidecar answers, typed for the agent's side (SPEC section 4).

The client shares no code with the server, so that an agent installs none of it; a test holds these against the server's
own. `offline`: the sidecar was away and the client answered in its place (fail-open).
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Component: TypeAlias = Literal[
    "system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer"
]
Kind: TypeAlias = Literal[
    "prompt",
    "tool_definition",
    "config",
    "context",
    "tool_result",
    "debug",
    "task",
    "file",
    "skill",
    "doc",
    "memory",
    "agent",
    "plan",
    "execution",
    "interaction",
]
Mode: TypeAlias = Literal["managed", "observed"]


class Item(TypedDict):
    """An item as a host tells of it: an id and a size; the kind where the sidecar does not know it yet."""

    id: str
    tokens: int
    kind: NotRequired[Kind]
    component: NotRequired[Component]
    completed: NotRequired[bool]
    pinned: NotRequired[bool]
    group: NotRequired[str | None]
    path: NotRequired[str | None]
    fingerprint: NotRequired[str | None]
    full: NotRequired[bool]
    doc_tokens: NotRequired[int]
    content: NotRequired[str]


class Directive(TypedDict):
    """One numbered action to apply to the window (SPEC 3.6). `stub` only for a removed item."""

    number: int
    action: Literal["compress", "summarize", "excerpt", "unload", "evict", "archive", "remove"]
    item: str
    component: Component
    tokens_before: int
    tokens_after: int
    step: str
    reason: str
    stub: NotRequired[str]


class Report(TypedDict):
    """The utilization report of a session."""

    session: str
    agent: str
    parent: str | None
    mode: Mode
    model: str | None
    state: Literal["active", "idle", "closed", "drifted"]
    timestamp: str
    components: dict[Component, dict[str, Any]]
    overall: dict[str, Any]
    forecast: dict[str, float]
    shares: dict[Component, float]
    provider_ratio: float | None
    source: Literal["exact", "estimated", "inferred"]


class WindowReply(TypedDict):
    """The answer to a window sync. Offline there is no report."""

    report: NotRequired[Report]
    directives: list[Directive]
    offline: NotRequired[bool]


class AllocationReply(TypedDict):
    """The answer to a request: a result, whatever the outcome."""

    component: Component
    requested: int
    granted: int
    outcome: Literal["full", "after_cleanup", "partial", "denied", "borrowed"]
    available_tokens: int
    cleanup: dict[str, Any] | None
    directives: list[Directive]
    offline: NotRequired[bool]


class ArchiveRecord(TypedDict):
    """An archived item; `content` where one record is read and content was supplied."""

    id: str
    kind: Kind
    component: Component
    step: str | None
    reason: str
    tokens_before: int
    tokens_after: int
    archived_at: str
    content: NotRequired[str | None]


class ArchivePage(TypedDict):
    """Archived items in order of their ids."""

    items: list[ArchiveRecord]
    next: str | None


class RestoreReply(AllocationReply):
    """The answer to a restore: the allocation, and the item at its first size with its content."""

    item: ArchiveRecord


class AcknowledgeReply(TypedDict):
    """The answer to an acknowledgement."""

    confirmed: int
    failed: int
    confirmed_tokens: int
    directives: list[Directive]


class BatchReply(TypedDict):
    """The answer to events. Offline they wait in the client, and `accepted` is 0."""

    accepted: int
    duplicates: int
    rejected: int
    errors: list[dict[str, Any]]
    results: list[dict[str, Any]]
    offline: NotRequired[bool]
