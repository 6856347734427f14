"""The journal that lasts as long as the process: for trials, tests and sessions nobody will ask about tomorrow.

It keeps frames as the bytes that the other journals write, so that what is read back is never the object that was
appended: a held item changes after its put, the entry of the put does not.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from sidecar.journal import ArchiveRecord, Frame, Outcome, SessionId, StoredEntry
from sidecar.journal.archive import Archive, Erase, Forget, Keep, Operation, operations
from sidecar.journal.codec import decode, encode


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored frame."""

    session: SessionId
    first: int
    written_at: float
    data: bytes

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
    contents: dict[str, dict[int, str]] = field(default_factory=dict)  # by item and version

    def apply(self, operation: Operation) -> None:
        """Carry out what a frame means for the archive."""
        match operation:
            case Keep(item=item, version=version, text=text):
                self.contents.setdefault(item, {})[version] = text
            case Forget(item=item, held=held):
                record = self.records.get(item)
                self._keep_only(item, lambda version: version in (held, record and record.content_version))
            case Archive(record=record):
                self.records[record.id] = record
                self._keep_only(record.id, lambda version: version == record.content_version)
            case Erase(item=None):
                for item in list(self.records):
                    self._erase(item)
            case Erase(item=str(item)):
                self._erase(item)

    def content(self, record: ArchiveRecord) -> str | None:
        """The text that a record speaks of."""
        return self.contents.get(record.id, {}).get(record.content_version or 0)

    def _erase(self, item: str) -> None:
        record = self.records.pop(item, None)
        if record is not None:
            self._keep_only(item, lambda version: version > (record.content_version or 0))

    def _keep_only(self, item: str, wanted: Callable[[int], bool]) -> None:
        if item in self.contents:
            kept = {version: text for version, text in self.contents.pop(item).items() if wanted(version)}
            if kept:
                self.contents[item] = kept


class MemoryJournal:
    """A `Journal` in memory. Several ledgers may share one, as replicas share a database."""

    def __init__(self) -> None:
        self._shelves: dict[SessionId, _Shelf] = {}
        self._rows: list[_Row] = []  # in the order in which they were stored

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close: what was stored stays as long as this object does."""

    async def check(self) -> None:
        """Memory takes writes."""

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session."""
        return [self._store(frame) for frame in frames]

    def _store(self, frame: Frame) -> Outcome:
        shelf = self._shelves.setdefault(frame.session, _Shelf())
        if frame.first != shelf.next_version:
            return "conflict"
        row = _Row(frame.session, frame.first, frame.written_at, encode(frame.entries))
        self._rows.append(row)
        shelf.rows.append(row)
        shelf.next_version += len(frame.entries)
        for operation in operations(frame):
            shelf.apply(operation)
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

    def _shelf(self, session: SessionId) -> _Shelf:
        return self._shelves.get(session) or _Shelf()


def _found(query: str, record: ArchiveRecord, content: str | None) -> bool:
    needle = query.lower()
    return any(needle in text.lower() for text in (record.id, record.kind, record.reason, content or ""))
