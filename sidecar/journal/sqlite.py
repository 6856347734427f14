"""The embedded journal: one SQLite file in write-ahead mode, nothing to install or operate.

Durability is the operator's choice. `normal`: a commit survives the death of the process, whatever kills it; it happens
on the event loop, because a small commit without a disk flush costs less than a thread's hand-over. `full`: a commit
survives the machine; the flush takes milliseconds, so it happens in a thread.

The log is moved into the file by a thread, beside the commits. Left at that, a busy writer would never let the log come
to its end and start over, and it would grow without bound; so when the log has grown too long, the next commit waits
for what little the thread had not moved yet.
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from sidecar.budget.entries import Closed
from sidecar.journal import ArchiveRecord, Frame, Head, JournalError, Outcome, SessionId, Snapshot, StoredEntry
from sidecar.journal import sqlite_history as history
from sidecar.journal.codec import decode, encode
from sidecar.journal.sqlite_archive import CONTENT, RECORD, RECORDS, pattern_of, record_of, store_archive
from sidecar.journal.sqlite_file import SCHEMA_VERSION, SqliteFile

Durability: TypeAlias = Literal["normal", "full"]
_Thread: TypeAlias = Literal["write", "read", "keep"]  # one for each connection of `SqliteFile`

_T = TypeVar("_T")
_Row: TypeAlias = tuple[SessionId, int, float, bytes, int]  # session, first, written_at, entries, id

_log = logging.getLogger(__name__)

# A frame is stored only where it comes next. Asked in one statement, SQLite would make a table for the answer first,
# which takes longer than the insert.
_NEXT = "SELECT first + count FROM frames WHERE session = ? ORDER BY first DESC LIMIT 1"
_STORE_FRAME = "INSERT INTO frames (session, first, count, written_at, closes, entries) VALUES (?, ?, ?, ?, ?, ?)"
_READ_ALL = "SELECT session, first, written_at, entries, id FROM frames WHERE id > ? ORDER BY id LIMIT ?"
_READ_SESSION = """
    SELECT session, first, written_at, entries, first FROM frames
    WHERE session = ? AND first > ? ORDER BY first LIMIT ?
"""
# Added here and not in Python: the version after the largest number there is would not fit.
_FRAME_BEFORE = "SELECT coalesce(max(first), 1) - 1 FROM frames WHERE session = ? AND first <= ? + 1"
_CHUNK = 256  # frames read at a time, so that nobody waits long for the reading thread

# In pages of 4 KiB: the log is moved in steps of about 4 MB; beyond 16 MB a commit waits for its end.
_STEP_PAGES = 1_000
_LOG_PAGES = 4_000
_NEARLY = 100  # pages written during a round that are few enough to leave for later
_ROUNDS = 4  # each round moves what was written during the former, so a few suffice


class SqliteJournal:
    """A `Journal` in the SQLite file `path`; see the module for `durability`."""

    shared = False
    writer = ""

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
        """Write one page, after opening the file anew if the last write failed; but do not begin a removed one anew."""
        if self._file is not None and not self.path.exists():
            raise JournalError(f"journal {self.path} was removed: put it back, or restart to begin a new one")
        if self._doubtful or self._file is None:
            await self.close()
            await self.open()
        await self._run("write", self._touch)
        self._doubtful = False

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session, in one transaction."""
        if self._log_is_long or self._pages >= _LOG_PAGES:
            await self._finish_log()
        outcomes = await self._write(partial(self._store, frames))
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
        rows = await self._select(history.SESSIONS, {"after": after or "", "limit": limit})
        return [id for (id,) in rows]

    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        """Where these sessions stand."""
        rows = await self._select(history.HEADS, (json.dumps(list(sessions)),))
        return {head.session: head for head in map(history.head_of, rows)}

    async def survey(self, *, after: SessionId | None, limit: int) -> Sequence[Head]:
        """Where all sessions stand, in order of id."""
        return [
            history.head_of(row) for row in await self._select(history.SURVEY, {"after": after or "", "limit": limit})
        ]

    async def tails(self, marks: Mapping[SessionId, int]) -> AsyncIterator[StoredEntry]:
        """The entries of many sessions, each after a version."""
        cursor = await self._run("read", partial(self._cursor, history.TAILS, (json.dumps(list(marks.items())),)))
        try:
            while rows := await self._run("read", partial(self._fetch, cursor, _CHUNK)):
                for id, first, written_at, data in rows:
                    for version, entry in enumerate(self._entries(id, first, data), first):
                        yield StoredEntry(session=id, version=version, written_at=written_at, entry=entry)
        finally:
            await self._run("read", cursor.close)

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Records in order of id."""
        values = {"session": session, "component": component, "after": after, "limit": limit}
        return [record_of(row) for row in await self._select(RECORDS, {**values, "pattern": pattern_of(query)})]

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        rows = await self._select(f"{RECORD} AND item = :item", {"session": session, "item": item})
        if not rows:
            return None
        texts = await self._select(CONTENT, (session, item, rows[0][-1]))
        return record_of(rows[0], content=texts[0][0] if texts else None)

    # --- snapshots, and forgetting ----------------------------------------------------------------------------------

    async def snapshots(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Snapshot]:
        """The snapshots of sessions."""
        rows = await self._select(history.SNAPSHOTS, (json.dumps(list(sessions)),))
        return {snapshot.session: snapshot for snapshot in map(history.snapshot_of, rows)}

    async def keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Store these in place of older ones."""

        def keep() -> None:
            with self._transaction("cannot keep a snapshot") as write:
                for snapshot in snapshots:
                    write(history.KEEP_SNAPSHOT, {name: getattr(snapshot, name) for name in Snapshot.__slots__})
                    self._pages += 1 + len(snapshot.state) // 4096

        await self._write(keep)

    async def size(self) -> int:
        """Bytes of the pages in use; what was forgotten leaves free pages, which are used again."""
        ((pages,), (free,), (size,)) = [
            (await self._select(f"PRAGMA {name}", ()))[0] for name in ("page_count", "freelist_count", "page_size")
        ]
        return int((pages - free) * size)

    async def forget_session(self, head: Head) -> bool:
        """Delete a closed session, in pieces."""
        values: dict[str, Any] = {"session": head.session, "version": head.version, "piece": history.PIECE}
        newest = await self._select(history.NEWEST, values)
        if not newest:
            return False
        values["newest"] = newest[0][0]
        for statement in history.FORGET_MANY:
            work = partial(self._execute, statement, values)
            await self._in_pieces(lambda work=work: (work(), 0))  # type: ignore[misc]

        def last() -> bool:
            with self._transaction("cannot forget a session") as write:
                still = write(history.NEWEST, values).fetchone() is not None
                for statement in history.FORGET_LAST if still else ():
                    write(statement, values)
            return still

        return await self._write(last)

    async def forget_entries(self, session: SessionId, *, before: float) -> int:
        """Delete old frames that the snapshot covers, in pieces."""
        values = {"session": session, "before": before, "piece": history.PIECE}

        def some() -> tuple[int, int]:
            with self._transaction("cannot forget entries") as write:
                old = write(history.OLD_FRAMES, values).fetchall()
                for id, _ in old:
                    write("DELETE FROM frames WHERE id = ?", (id,))
            return len(old), sum(count for _, count in old)

        return await self._in_pieces(some)

    async def forget_archive(self, session: SessionId, *, before: float) -> int:
        """Delete old archive records with their contents, in pieces."""
        values = {"session": session, "before": before, "piece": history.PIECE}

        def some() -> tuple[int, int]:
            with self._transaction("cannot forget the archive") as write:
                old = write(history.OLD_RECORDS, values).fetchall()
                for (item,) in old:
                    write(history.FORGET_CONTENTS, {"session": session, "item": item})
                    write(history.FORGET_RECORD, {"session": session, "item": item})
            return len(old), len(old)

        return await self._in_pieces(some)

    async def _in_pieces(self, some: Callable[[], tuple[int, int]]) -> int:
        """Delete some rows again and again, until there are fewer than a piece; the sum of what each time counts."""
        total = 0
        while True:
            rows, count = await self._write(some)
            total += count
            if rows < history.PIECE:
                return total
            await asyncio.sleep(0)

    # --- in whatever thread ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, failing: str) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """A transaction of the writer: all of it, or none."""
        file = self._opened()
        write = file.writer.execute
        with file.failing(failing):
            try:
                file.check_in_place()
                write("BEGIN IMMEDIATE")
                yield write
                write("COMMIT")
            except BaseException:
                self._doubtful = True
                if file.writer.in_transaction:
                    write("ROLLBACK")
                raise

    def _execute(self, statement: str, values: Any) -> int:
        """A transaction of one statement; the rows that it changed."""
        with self._transaction("cannot write") as write:
            return write(statement, values).rowcount

    def _store(self, frames: Sequence[Frame]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        size = 0
        with self._transaction("cannot store") as write:
            for frame in frames:
                newest = write(_NEXT, (frame.session,)).fetchone()
                stored = frame.first == (1 if newest is None else newest[0])
                if stored:
                    data = encode(frame.entries)
                    closes = isinstance(frame.entries[-1], Closed)
                    write(
                        _STORE_FRAME,
                        (frame.session, frame.first, len(frame.entries), frame.written_at, closes, data),
                    )
                    size += len(data) + store_archive(write, frame)
                outcomes.append("stored" if stored else "conflict")
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
            (place,) = file.reader.execute(_FRAME_BEFORE, (session, after)).fetchone()
        return int(place)

    def _frames(self, session: SessionId | None, place: int, limit: int) -> list[_Row]:
        file = self._opened()
        with file.failing("cannot be read"):
            if session is None:
                return file.reader.execute(_READ_ALL, (place, limit)).fetchall()
            return file.reader.execute(_READ_SESSION, (session, place, limit)).fetchall()

    def _cursor(self, statement: str, values: Any) -> sqlite3.Cursor:
        file = self._opened()
        with file.failing("cannot be read"):
            return file.reader.execute(statement, values)

    def _fetch(self, cursor: sqlite3.Cursor, rows: int) -> list[Any]:
        with self._opened().failing("cannot be read"):
            return cursor.fetchmany(rows)

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

    async def _write(self, work: Callable[[], _T]) -> _T:
        """Run a transaction where this durability runs them: one after the other."""
        return await self._run("write", work) if self._durability == "full" else work()

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
