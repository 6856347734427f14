"""The journal: where entries become durable. The commit point; it may not lose.

A journal stores *frames*, one per session and commit, and with them, in the same transaction, the archive records and
the contents that the entries speak of. Beside them it keeps *snapshots*, so that a restart need not read everything,
and it forgets what it is told to. One contract suite holds all implementations; README.md tells how to choose one.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from sidecar.budget.entries import AnyEntry
from sidecar.budget.items import Kind
from sidecar.budget.policy import Component
from sidecar.budget.profile import Profile

SessionId: TypeAlias = str

Outcome: TypeAlias = Literal["stored", "conflict"]


class JournalError(Exception):
    """The journal could not store or read; what was asked may or may not have happened. Worth trying again later."""


class StoreAway(JournalError):
    """The store cannot be reached, or says nothing: whatever else is asked of it now fares no better."""


class Damaged(JournalError):
    """What is stored of one session cannot be read, however often that is tried; all others can."""


@dataclass(slots=True)  # neither frozen nor made by keyword, which would double what it costs with each command
class StoredEntry:
    """An entry at its place: `version` counts a session's entries from 1; `written_at` is the server's time."""

    session: SessionId
    version: int
    written_at: float
    entry: AnyEntry


@dataclass(slots=True)  # as above
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a session stands: its newest version, when it was written (server time), by whom, and if that closed it."""

    session: SessionId
    version: int
    written_at: float
    writer: str
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A session as its entries up to `version` made it: `state` as journal/freezing.py writes it under `stamp`."""

    session: SessionId
    version: int
    written_at: float  # when that version was written, server time
    stamp: str
    state: bytes


class Journal(Protocol):
    """Where entries go. All methods raise `JournalError` when the store fails.

    `append` is atomic per frame: entries, archive records, contents and what the entries teach of an agent
    (journal/profiles.py) together or not at all. A frame whose `first` is
    not the session's next version is a `conflict` and stores nothing of that session; other frames are not affected.
    """

    @property
    def shared(self) -> bool:
        """Whether others may write to the same store meanwhile."""
        ...

    @property
    def writer(self) -> str:
        """The name under which this journal's frames are written."""
        ...

    async def open(self) -> None:
        """Make ready to read and append."""
        ...

    async def close(self) -> None:
        """Let go of the store; what was appended stays in it."""
        ...

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Make frames durable: an outcome for each, in their order."""
        ...

    async def check(self) -> bool:
        """Raise `JournalError` unless the store takes writes now; heals what it can, leaves no trace.

        Answers whether another store has taken the place of the one that was read so far.
        """
        ...

    def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`: of one session in order, or of all (each session's in order)."""
        ...

    async def sessions(self, *, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """The ids of the sessions that have entries, in order (of code points), after the id `after`."""
        ...

    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        """Where these sessions stand; those without entries are left out."""
        ...

    async def survey(self, *, after: SessionId | None, limit: int) -> Sequence[Head]:
        """Where all sessions stand, in order of id, after the id `after`."""
        ...

    def tails(self, marks: Mapping[SessionId, int]) -> AsyncIterator[StoredEntry]:
        """The entries of many sessions, each after a version at which a frame ended: one session after the other."""
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

    # --- profiles ---------------------------------------------------------------------------------------------------

    async def profiles(self, agents: Collection[str] | None = None) -> Mapping[str, Profile]:
        """What is known of these agents, or of all (None), by agent; those of whom nothing is known are left out."""
        ...

    async def keep_profile(self, agent: str, profile: Profile | None) -> None:
        """Store an agent's profile in place of its former one, or forget it (None)."""
        ...

    # --- snapshots --------------------------------------------------------------------------------------------------

    async def snapshots(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Snapshot]:
        """The snapshot of each session that has one."""
        ...

    async def keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Store these in place of older ones of their sessions."""
        ...

    # --- forgetting -------------------------------------------------------------------------------------------------

    async def size(self) -> int:
        """Bytes in use, about."""
        ...

    async def forget_session(self, head: Head) -> bool:
        """Delete a closed session with all that is its own, unless it has moved on from `head`; whether it was."""
        ...

    async def forget_entries(self, session: SessionId, *, before: float) -> int:
        """Delete frames written before that time which the session's snapshot covers, but not the newest; entries."""
        ...

    async def forget_archive(self, session: SessionId, *, before: float) -> int:
        """Delete archive records stored before that time (server time) with their contents; how many."""
        ...
