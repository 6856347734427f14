"""What calls answer besides the budget's replies: lists come in pages, and batches as what became of their events."""

from typing import Any, TypedDict

from sidecar.budget import replies


class SessionPage(TypedDict):
    """Sessions in order of their ids."""

    sessions: list[replies.SessionSummary]
    next: str | None


class ItemPage(TypedDict):
    """Held items in order of their ids."""

    items: list[replies.ItemReply]
    next: str | None


class ArchivePage(TypedDict):
    """Archived items in order of their ids, without their content."""

    items: list[replies.ArchiveRecordReply]
    next: str | None


class EntryPage(TypedDict):
    """Entries of the ledger in order: each with `version`, `time`, `type` and what it says."""

    entries: list[dict[str, Any]]
    next: int | None


class ProfilePage(TypedDict):
    """What is known of agents, in order of their names."""

    profiles: list[replies.ProfileReply]
    next: str | None


class DirectivePage(TypedDict):
    """Directives that are not confirmed yet, oldest first."""

    directives: list[replies.DirectiveReply]
    next: int | None


class Duplicate(TypedDict):
    """The answer to a command whose `id` was seen before: it changed nothing, and what it answered then is not kept."""

    duplicate: bool
    directives: list[replies.DirectiveReply]


class BatchError(TypedDict):
    """An event that was not accepted. `status` is what a call of its own would have been answered."""

    index: int
    detail: str
    status: int


class BatchReply(TypedDict):
    """The answer to a batch: each event is accepted, a duplicate or rejected.

    `results` are the answers to requests and cleanups, each with the `index` of its event.
    """

    accepted: int
    duplicates: int
    rejected: int
    errors: list[BatchError]
    results: list[dict[str, Any]]
