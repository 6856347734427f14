"""The journal: where entries become durable. The commit point; it may not lose.

A journal stores *frames*, one per session and commit, and with them, in the same transaction, the archive records and
the contents that the entries speak of. One contract suite holds all implementations.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from sidecar.budget.entries import AnyEntry
from sidecar.budget.items import Kind
from sidecar.budget.policy import Component

SessionId: TypeAlias = str

Outcome: TypeAlias = Literal["stored", "conflict"]


class JournalError(Exception):
    """The journal could not store or read; what was asked may or may not have happened. Worth trying again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry at its place: `version` counts a session's entries from 1; `written_at` is the server's time."""

    session: SessionId
    version: int
    written_at: float
    entry: AnyEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The entries that one commit adds to one session: versions `first`, `first` + 1, ...

    `contents`: the texts of items put in this frame, by the version of their entry.
    """

    session: SessionId
    first: int
    written_at: float
    entries: Sequence[AnyEntry]
    contents: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecord:
    """An archived item (SPEC 3.5): what it was, why it went, its first size, and (read singly) its content."""

    id: str
    kind: Kind
    component: Component
    step: str | None  # None: the host removed it
    reason: str
    tokens_before: int
    tokens_after: int  # 0: removed
    archived_at: float
    content_version: int | None = None
    content: str | None = None


class Journal(Protocol):
    """Where entries go. All methods raise `JournalError` when the store fails.

    `append` is atomic per frame: entries, archive records and contents together or not at all. A frame whose `first` is
    not the session's next version is a `conflict` and stores nothing of that session; other frames are not affected.
    """

    async def open(self) -> None:
        """Make ready to read and append."""
        ...

    async def close(self) -> None:
        """Let go of the store; what was appended stays in it."""
        ...

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Make frames durable: an outcome for each, in their order."""
        ...

    async def check(self) -> None:
        """Raise `JournalError` unless the store takes writes now; heals what it can, leaves no trace."""
        ...

    def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`: of one session in order, or of all (each session's in order)."""
        ...

    async def sessions(self, *, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """The ids of the sessions that have entries, in order (of code points), after the id `after`."""
        ...

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Archive records without content in order of id, after the id `after`.

        `query` is found in id, kind, reason or content, whatever the case of its ASCII letters.
        """
        ...

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        ...
