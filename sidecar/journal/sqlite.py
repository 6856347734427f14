"""The embedded journal: one SQLite file in write-ahead mode, nothing to install or operate.

Durability is the operator's choice. `normal`: a commit survives the death of the process, whatever kills it; it happens
on the event loop, because a small commit without a disk flush costs less than a thread's hand-over. `full`: a commit
survives the machine; the flush takes milliseconds, so it happens in a thread.

The log is moved into the file by a thread, beside the commits. Left at that, a busy writer would never let the log come
to its end and start over, and it would grow without bound; so when the log has grown too long, the next commit waits
for what little the thread had not moved yet.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from sidecar.journal import ArchiveRecord, Frame, JournalError, Outcome, SessionId, StoredEntry
from sidecar.journal.archive import Archive, Erase, Forget, Keep, operations
from sidecar.journal.codec import decode, encode
from sidecar.journal.sqlite_file import SCHEMA_VERSION, SqliteFile

Durability: TypeAlias = Literal["normal", "full"]
_Thread: TypeAlias = Literal["write", "read", "keep"]  # one for each connection of `SqliteFile`

_T = TypeVar("_T")
_Row: TypeAlias = tuple[SessionId, int, float, bytes, int]  # session, first, written_at, entries, id

_log = logging.getLogger(__name__)

# A frame is stored only where it comes next; `changes()` tells.
_STORE_FRAME = """
    INSERT INTO frames (session, first, count, written_at, entries)
    SELECT :session, :first, :count, :written_at, :entries
    WHERE :first = coalesce(
        (SELECT first + count FROM frames WHERE session = :session ORDER BY first DESC LIMIT 1), 1)
"""
_STORE_RECORD = """
    INSERT OR REPLACE INTO archive (session, item, kind, component, step, reason,
                                    tokens_before, tokens_after, archived_at, content_version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_KEEP = "INSERT INTO contents (session, item, version, text) VALUES (?, ?, ?, ?)"
_FORGET = """
    DELETE FROM contents WHERE session = :session AND item = :item AND version IS NOT :held
    AND version IS NOT (SELECT content_version FROM archive WHERE session = :session AND item = :item)
"""
_KEEP_ONLY = "DELETE FROM contents WHERE session = ? AND item = ? AND version IS NOT ?"
_ERASE_CONTENTS = """
    DELETE FROM contents WHERE session = :session AND (:item IS NULL OR item = :item) AND version <= (
        SELECT content_version FROM archive WHERE archive.session = :session AND archive.item = contents.item)
"""
_ERASE_RECORDS = "DELETE FROM archive WHERE session = :session AND (:item IS NULL OR item = :item)"

_READ_ALL = "SELECT session, first, written_at, entries, id FROM frames WHERE id > ? ORDER BY id LIMIT ?"
_READ_SESSION = """
    SELECT session, first, written_at, entries, first FROM frames
    WHERE session = ? AND first > ? ORDER BY first LIMIT ?
"""
_FRAME_BEFORE = "SELECT coalesce(max(first), 1) - 1 FROM frames WHERE session = ? AND first <= ?"
# Each id is one step along the index, however many frames its session has.
_SESSIONS = """
    WITH RECURSIVE ids (id) AS (
        SELECT min(session) FROM frames WHERE session > :after
        UNION ALL
        SELECT (SELECT min(session) FROM frames WHERE session > ids.id) FROM ids WHERE ids.id IS NOT NULL
    )
    SELECT id FROM ids WHERE id IS NOT NULL LIMIT :limit
"""
_RECORD = """
    SELECT item, kind, component, step, reason, tokens_before, tokens_after, archived_at, content_version
    FROM archive WHERE session = :session
"""
_RECORDS = f"""
    {_RECORD} AND (:after IS NULL OR item > :after) AND (:component IS NULL OR component = :component)
    AND (:pattern IS NULL OR item LIKE :pattern ESCAPE '~' OR kind LIKE :pattern ESCAPE '~'
         OR reason LIKE :pattern ESCAPE '~' OR EXISTS (
            SELECT 1 FROM contents WHERE contents.session = archive.session AND contents.item = archive.item
            AND contents.version = archive.content_version AND text LIKE :pattern ESCAPE '~'))
    ORDER BY item LIMIT :limit
"""  # noqa: S608 - made of constants
_CONTENT = "SELECT text FROM contents WHERE session = ? AND item = ? AND version = ?"

_CHUNK = 256  # frames read at a time, so that nobody waits long for the reading thread

# In pages of 4 KiB: the log is moved in steps of about 4 MB; beyond 16 MB a commit waits for its end.
_STEP_PAGES = 1_000
_LOG_PAGES = 4_000
_NEARLY = 100  # pages written during a round that are few enough to leave for later
_ROUNDS = 4  # each round moves what was written during the former, so a few suffice


class SqliteJournal:
    """A `Journal` in the SQLite file `path`; see the module for `durability`."""

    def __init__(self, path: str | Path, *, durability: Durability = "normal") -> None:
        self.path = Path(path)
        self._durability = durability
        self._file: SqliteFile | None = None
        self._threads: dict[_Thread, ThreadPoolExecutor] = {}
        self._doubtful = False  # the last write failed: `check` opens the file anew
        self._pages = 0  # written since the log was last moved, estimated
        self._moving: asyncio.Future[None] | None = None
        self._log_is_long = False

    async def open(self) -> None:
        """Open the file, create it if it is missing. Raises `JournalError` with what is wrong and where."""
        self._file = SqliteFile(self.path, synchronous=self._durability)
        self._threads = {name: ThreadPoolExecutor(1, f"journal-{name}") for name in get_args(_Thread)}

    async def close(self) -> None:
        """Move the log into the file and close it."""
        if self._file is None:
            return
        if self._moving is not None:
            await asyncio.wait([self._moving])
        for thread in self._threads.values():
            thread.shutdown()
        self._file.close()  # the last connection to close moves the log
        self._file = None

    async def check(self) -> None:
        """Write one page, after opening the file anew if the last write failed."""
        if self._doubtful or self._file is None:
            await self.close()
            await self.open()
        await self._run("write", self._touch)
        self._doubtful = False

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session, in one transaction."""
        if self._log_is_long or self._pages >= _LOG_PAGES:
            await self._finish_log()
        if self._durability == "full":
            outcomes = await self._run("write", partial(self._store, frames))
        else:
            outcomes = self._store(frames)
        if self._pages >= _STEP_PAGES and self._moving is None:
            self._moving = asyncio.ensure_future(self._move_log())
        return outcomes

    async def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`, of one session or of all."""
        left = limit
        place = 0 if session is None else await self._run("read", partial(self._frame_before, session, after))
        while left is None or left > 0:
            chunk = _CHUNK if left is None else min(_CHUNK, left)
            rows = await self._run("read", partial(self._frames, session, place, chunk))
            for id, first, written_at, data, place in rows:  # noqa: B007 - the last row's is where to go on
                for version, entry in enumerate(self._entries(id, first, data), first):
                    if version <= after:
                        continue
                    if left is not None:
                        if left <= 0:
                            return
                        left -= 1
                    yield StoredEntry(session=id, version=version, written_at=written_at, entry=entry)
            if len(rows) < chunk:
                return

    async def sessions(self, *, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Ids in order."""
        rows = await self._select(_SESSIONS, {"after": after or "", "limit": limit})
        return [id for (id,) in rows]

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Records in order of id."""
        pattern = query and "%" + query.replace("~", "~~").replace("%", "~%").replace("_", "~_") + "%"
        values = {"session": session, "component": component, "pattern": pattern, "after": after, "limit": limit}
        return [_record(row) for row in await self._select(_RECORDS, values)]

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        rows = await self._select(f"{_RECORD} AND item = :item", {"session": session, "item": item})
        if not rows:
            return None
        texts = await self._select(_CONTENT, (session, item, rows[0][-1]))
        return _record(rows[0], content=texts[0][0] if texts else None)

    # --- in whatever thread ---------------------------------------------------------------------------------------

    def _store(self, frames: Sequence[Frame]) -> list[Outcome]:
        file = self._opened()
        write = file.writer.execute
        outcomes: list[Outcome] = []
        size = 0
        with file.failing("cannot store"):
            try:
                write("BEGIN IMMEDIATE")
                for frame in frames:
                    data = encode(frame.entries)
                    size += len(data)
                    row = {
                        "session": frame.session,
                        "first": frame.first,
                        "count": len(frame.entries),
                        "written_at": frame.written_at,
                        "entries": data,
                    }
                    stored = write(_STORE_FRAME, row).rowcount == 1
                    if stored:
                        size += _store_archive(write, frame)
                    outcomes.append("stored" if stored else "conflict")
                write("COMMIT")
            except BaseException:
                self._doubtful = True
                if file.writer.in_transaction:
                    write("ROLLBACK")
                raise
        self._pages += 2 + len(frames) + size // 4096
        return outcomes

    def _touch(self) -> None:
        file = self._opened()
        with file.failing("takes no writes"):
            try:
                file.writer.execute("BEGIN IMMEDIATE")
                file.writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                file.writer.execute("COMMIT")
            except sqlite3.Error:
                if file.writer.in_transaction:
                    file.writer.execute("ROLLBACK")
                raise

    def _frame_before(self, session: SessionId, after: int) -> int:
        """The place to start from: the frame that holds version `after` + 1 is the next one."""
        file = self._opened()
        with file.failing("cannot be read"):
            (place,) = file.reader.execute(_FRAME_BEFORE, (session, after + 1)).fetchone()
        return int(place)

    def _frames(self, session: SessionId | None, place: int, limit: int) -> list[_Row]:
        file = self._opened()
        with file.failing("cannot be read"):
            if session is None:
                return file.reader.execute(_READ_ALL, (place, limit)).fetchall()
            return file.reader.execute(_READ_SESSION, (session, place, limit)).fetchall()

    def _move(self) -> int:
        """Move the log into the file, as far as it goes beside the writer; answers the pages in the log."""
        length = 0
        for _ in range(_ROUNDS):
            former = length
            _, length, _ = self._opened().keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if length - former < _NEARLY:
                break
        return length

    # --- on the loop ----------------------------------------------------------------------------------------------

    async def _move_log(self) -> None:
        self._pages = 0
        try:
            length = await self._run("keep", self._move)
            self._log_is_long = length > _LOG_PAGES
        except sqlite3.Error as error:
            # Nothing is lost: the log still has it. Should the disk be full, the next commit will say so.
            _log.warning("journal %s: the write-ahead log could not be moved into the file: %s", self.path, error)
        finally:
            self._moving = None

    async def _finish_log(self) -> None:
        """Move the log while nobody writes: this comes to its end, and the next commit starts it over."""
        if self._moving is not None:
            await asyncio.wait([self._moving])
        await self._move_log()
        self._log_is_long = False

    async def _select(self, statement: str, values: Any) -> list[Any]:
        def select() -> list[Any]:
            file = self._opened()
            with file.failing("cannot be read"):
                return file.reader.execute(statement, values).fetchall()

        return await self._run("read", select)

    async def _run(self, thread: _Thread, work: Callable[[], _T]) -> _T:
        self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._threads[thread], work)

    def _opened(self) -> SqliteFile:
        if self._file is None:
            raise JournalError(f"journal {self.path} is not open")
        return self._file

    def _entries(self, session: SessionId, first: int, data: bytes) -> Sequence[Any]:
        try:
            return decode(data)
        except JournalError as error:
            raise JournalError(f"journal {self.path}: session {session!r} at version {first}: {error}") from error


def _store_archive(write: Callable[..., Any], frame: Frame) -> int:
    """Carry out what a stored frame means for the archive; the size of its contents in characters."""
    size = 0
    session = frame.session
    for operation in operations(frame):
        match operation:
            case Keep(item=item, version=version, text=text):
                write(_KEEP, (session, item, version, text))
                size += len(text)
            case Forget(item=item, held=held):
                write(_FORGET, {"session": session, "item": item, "held": held})
            case Archive(record=r):
                sizes = (r.tokens_before, r.tokens_after, r.archived_at, r.content_version)
                write(_STORE_RECORD, (session, r.id, r.kind, r.component, r.step, r.reason, *sizes))
                write(_KEEP_ONLY, (session, r.id, r.content_version))
            case Erase(item=erased):
                write(_ERASE_CONTENTS, {"session": session, "item": erased})
                write(_ERASE_RECORDS, {"session": session, "item": erased})
    return size


def _record(row: Sequence[Any], *, content: str | None = None) -> ArchiveRecord:
    item, kind, component, step, reason, before, after, archived_at, content_version = row
    return ArchiveRecord(
        id=item,
        kind=kind,
        component=component,
        step=step,
        reason=reason,
        tokens_before=before,
        tokens_after=after,
        archived_at=archived_at,
        content_version=content_version,
        content=content,
    )
