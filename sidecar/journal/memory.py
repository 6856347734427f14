"""The journal that lasts as long as the process: for trials, tests and sessions nobody will ask about tomorrow.

It keeps frames as the bytes that the other journals write, so that what is read back is never the object that was
appended: a held item changes after its put, the entry of the put does not.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sidecar.budget.entries import Closed
from sidecar.budget.profile import Profile
from sidecar.journal import ArchiveRecord, Frame, Head, Outcome, SessionId, Snapshot, StoredEntry
from sidecar.journal.archive import Archive, Erase, Forget, Keep, Operation, operations
from sidecar.journal.codec import decode, encode
from sidecar.journal.profiles import AGENTS, after_lessons, decode_profile, encode_profile, taught


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored frame."""

    session: SessionId
    first: int
    written_at: float
    data: bytes
    writer: str
    count: int
    closes: bool

    def entries(self) -> Iterable[StoredEntry]:
        """The entries at their places."""
        for version, entry in enumerate(decode(self.data), self.first):
            yield StoredEntry(session=self.session, version=version, written_at=self.written_at, entry=entry)


@dataclass(slots=True)
class _Shelf:
    """What is kept of one session."""

    next_version: int = 1
    rows: list[_Row] = field(default_factory=list)
    records: dict[str, ArchiveRecord] = field(default_factory=dict)
    stored_at: dict[str, float] = field(default_factory=dict)  # of records, by item: server time
    contents: dict[str, dict[int, str]] = field(default_factory=dict)  # by item and version
    snapshot: Snapshot | None = None

    def head(self) -> Head:
        """Where the session stands."""
        row = self.rows[-1]
        return Head(
            session=row.session,
            version=self.next_version - 1,
            written_at=row.written_at,
            writer=row.writer,
            closed=row.closes,
        )

    def apply(self, operation: Operation, written_at: float) -> None:
        """Carry out what a frame means for the archive."""
        match operation:
            case Keep(item=item, version=version, text=text):
                self.contents.setdefault(item, {})[version] = text
            case Forget(item=item, held=held):
                record = self.records.get(item)
                self._keep_only(item, lambda version: version in (held, record and record.content_version))
            case Archive(record=record):
                self.records[record.id] = record
                self.stored_at[record.id] = written_at
                self._keep_only(record.id, lambda version: version == record.content_version)
            case Erase(item=None):
                for item in list(self.records):
                    self.erase(item)
            case Erase(item=str(item)):
                self.erase(item)

    def content(self, record: ArchiveRecord) -> str | None:
        """The text that a record speaks of."""
        return self.contents.get(record.id, {}).get(record.content_version or 0)

    def erase(self, item: str) -> None:
        """Drop a record, with the item's contents up to the one that the record speaks of."""
        record = self.records.pop(item, None)
        if record is not None:
            self._keep_only(item, lambda version: version > (record.content_version or 0))

    def _keep_only(self, item: str, wanted: Callable[[int], bool]) -> None:
        if item in self.contents:
            kept = {version: text for version, text in self.contents.pop(item).items() if wanted(version)}
            if kept:
                self.contents[item] = kept


class MemoryJournal:
    """A `Journal` in memory. `replica` makes another door to it, as replicas have to a database."""

    def __init__(self, *, writer: str = "") -> None:
        self.writer = writer
        self.shared = False
        self._shelves: dict[SessionId, _Shelf] = {}
        self._rows: list[_Row] = []  # in the order in which they were stored
        self._profiles: dict[str, bytes] = {}  # by agent; what was learned last is last

    def replica(self, writer: str) -> "MemoryJournal":
        """Another door to the same memory."""
        other = MemoryJournal(writer=writer)
        other._shelves, other._rows, other._profiles = self._shelves, self._rows, self._profiles
        other.shared = self.shared = True
        return other

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close: what was stored stays as long as this object does."""

    async def check(self) -> bool:
        """Memory takes writes."""
        return False

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session."""
        return [self._store(frame) for frame in frames]

    def _store(self, frame: Frame) -> Outcome:
        shelf = self._shelves.setdefault(frame.session, _Shelf())
        if frame.first != shelf.next_version:
            return "conflict"
        data, count, closes = encode(frame.entries), len(frame.entries), isinstance(frame.entries[-1], Closed)
        row = _Row(frame.session, frame.first, frame.written_at, data, self.writer, count, closes)
        self._rows.append(row)
        shelf.rows.append(row)
        shelf.next_version += len(frame.entries)
        for operation in operations(frame):
            shelf.apply(operation, frame.written_at)
        for agent, lessons in taught(frame).items():
            self._keep(agent, after_lessons(self._profiles.get(agent), lessons, at=frame.written_at))
        return "stored"

    async def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`, of one session or of all."""
        rows = self._rows if session is None else self._shelf(session).rows
        left = limit
        for row in tuple(rows):
            for stored in row.entries():
                if stored.version > after:
                    if left is not None:
                        if left <= 0:
                            return
                        left -= 1
                    yield stored

    async def sessions(self, *, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Ids in order."""
        return sorted(id for id, shelf in self._shelves.items() if shelf.rows and (after is None or id > after))[:limit]

    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        """Where these sessions stand."""
        return {id: self._shelves[id].head() for id in sessions if self._shelf(id).rows}

    async def survey(self, *, after: SessionId | None, limit: int) -> Sequence[Head]:
        """Where all sessions stand, in order of id."""
        return [self._shelves[id].head() for id in await self.sessions(after=after, limit=limit)]

    async def tails(self, marks: Mapping[SessionId, int]) -> AsyncIterator[StoredEntry]:
        """The entries of many sessions, each after a version."""
        for session, after in marks.items():
            async for stored in self.read(session, after=after):
                yield stored

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Records in order of id."""
        shelf = self._shelf(session)
        return [
            record
            for id, record in sorted(shelf.records.items())
            if (after is None or id > after)
            and (component is None or record.component == component)
            and (query is None or _found(query, record, shelf.content(record)))
        ][:limit]

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        shelf = self._shelf(session)
        record = shelf.records.get(item)
        return record and replace(record, content=shelf.content(record))

    # --- profiles ---------------------------------------------------------------------------------------------------

    async def profiles(self, agents: Collection[str] | None = None) -> Mapping[str, Profile]:
        """What is known of agents."""
        return {
            agent: decode_profile(data) for agent, data in self._profiles.items() if agents is None or agent in agents
        }

    async def keep_profile(self, agent: str, profile: Profile | None) -> None:
        """Store a profile, or forget it."""
        self._keep(agent, profile)

    def _keep(self, agent: str, profile: Profile | None) -> None:
        self._profiles.pop(agent, None)
        if profile is not None:
            self._profiles[agent] = encode_profile(profile)
            if len(self._profiles) > AGENTS:
                del self._profiles[next(iter(self._profiles))]

    # --- snapshots, and forgetting ----------------------------------------------------------------------------------

    async def snapshots(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Snapshot]:
        """The snapshots of sessions."""
        return {id: snapshot for id in sessions if (snapshot := self._shelf(id).snapshot) is not None}

    async def keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Store these in place of older ones."""
        for snapshot in snapshots:
            shelf = self._shelf(snapshot.session)
            newest = 0 if shelf.snapshot is None else shelf.snapshot.version
            if shelf.rows and newest <= snapshot.version <= shelf.head().version:
                shelf.snapshot = snapshot

    async def size(self) -> int:
        """Bytes of entries, snapshots and contents."""
        size = 0
        for shelf in self._shelves.values():
            size += sum(len(row.data) for row in shelf.rows)
            size += len(shelf.snapshot.state) if shelf.snapshot is not None else 0
            size += sum(len(text) for versions in shelf.contents.values() for text in versions.values())
        return size

    async def forget_session(self, head: Head) -> bool:
        """Delete a closed session."""
        shelf = self._shelf(head.session)
        if not head.closed or not shelf.rows or shelf.head() != head:
            return False
        del self._shelves[head.session]
        self._rows[:] = [row for row in self._rows if row.session != head.session]
        return True

    async def forget_entries(self, session: SessionId, *, before: float) -> int:
        """Delete old frames that the snapshot covers."""
        shelf = self._shelf(session)
        covered = 0 if shelf.snapshot is None else shelf.snapshot.version
        kept = next(
            (
                place
                for place, row in enumerate(shelf.rows)
                if row.written_at >= before or row.first + row.count - 1 > covered
            ),
            len(shelf.rows),
        )
        gone = shelf.rows[: min(kept, len(shelf.rows) - 1)]
        del shelf.rows[: len(gone)]
        dropped = {id(row) for row in gone}
        self._rows[:] = [row for row in self._rows if id(row) not in dropped]
        return sum(row.count for row in gone)

    async def forget_archive(self, session: SessionId, *, before: float) -> int:
        """Delete old records with their contents."""
        shelf = self._shelf(session)
        old = [item for item in shelf.records if shelf.stored_at[item] < before]
        for item in old:
            shelf.erase(item)
        return len(old)

    def _shelf(self, session: SessionId) -> _Shelf:
        return self._shelves.get(session) or _Shelf()


def _found(query: str, record: ArchiveRecord, content: str | None) -> bool:
    needle = query.lower()
    return any(needle in text.lower() for text in (record.id, record.kind, record.reason, content or ""))
