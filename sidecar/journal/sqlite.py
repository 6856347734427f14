"""The embedded journal: one SQLite file in write-ahead mode, nothing to install or operate.

Durability is the operator's choice. `normal`: a commit survives the death of the process, whatever kills it; it happens
on the event loop, because a small commit without a disk flush costs less than a thread's hand-over. `full`: a commit
survives the machine; the flush takes milliseconds, so it happens in a thread.

    sqlite_file.py        the file: who may open it, what must be in it, connections
    sqlite_access.py      transactions and selections, each in its thread
    sqlite_log.py         the write-ahead log, moved into the file beside the commits
    sqlite_frames.py      frames: stored and read
    sqlite_rows.py        rows as what they tell of, or damaged
    sqlite_archive.py     what a frame means for the archive
    sqlite_profiles.py    what it teaches of its agent
    sqlite_history.py     where sessions stand, snapshots, and what is forgotten
    sqlite_forgetting.py  forgetting it, in pieces
"""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.budget.entries import AnyEntry
from sidecar.budget.profile import Profile
from sidecar.journal import ArchiveRecord, Damaged, Frame, Head, Outcome, SessionId, Snapshot, StoredEntry
from sidecar.journal import sqlite_history as history
from sidecar.journal.profiles import decode_profile
from sidecar.journal.sqlite_access import Access, Durability
from sidecar.journal.sqlite_archive import CONTENT, RECORD, RECORDS, pattern_of
from sidecar.journal.sqlite_forgetting import forget_archive, forget_entries, forget_session
from sidecar.journal.sqlite_frames import CHUNK, frame_before, means_nothing_more, read_frames, store_frames
from sidecar.journal.sqlite_log import PAGE, Log
from sidecar.journal.sqlite_profiles import PROFILES, keep
from sidecar.journal.sqlite_rows import entries_of, head_of, record_of, snapshot_of


class SqliteJournal:
    """A `Journal` in the SQLite file `path`; see the module for `durability`."""

    shared = False
    writer = ""

    def __init__(self, path: str | Path, *, durability: Durability = "normal") -> None:
        self.path = Path(path)
        self._access = Access(self.path, durability)
        self._log = Log(self._access)

    async def open(self) -> None:
        """Open the file, create it if it is missing. Raises `JournalError` with what is wrong and where."""
        self._access.open()

    async def close(self) -> None:
        """Move the log into the file and close it."""
        await self._log.settled()
        self._access.close()

    async def check(self) -> bool:
        """Write one page, after opening the file anew if the last write failed; but do not begin a removed one anew."""
        self._access.check_there()
        if self._access.doubtful or not self._access.is_open:
            await self.close()
            await self.open()
        await self._access.run("write", self._access.touch)
        self._access.doubtful = False
        return self._access.is_another()

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session, in one transaction."""
        if self._log.is_too_long:
            await self._log.shorten()
        outcomes = await self._access.write(partial(self._store, frames))
        self._log.after_commit()
        return outcomes

    def _store(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        single = len(frames) == 1 and means_nothing_more(frames[0])
        with self._access.transaction("cannot store", single=single) as write:
            outcomes, pages = store_frames(write, frames, self._access.follows)
        self._log.pages += pages
        return outcomes

    async def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`, of one session or of all."""
        left = limit
        place = (
            0
            if session is None
            else await self._access.run("read", partial(frame_before, self._access.file, session, after))
        )
        while left is None or left > 0:
            chunk = CHUNK if left is None else min(CHUNK, left)
            rows = await self._access.run("read", partial(read_frames, self._access.file, session, place, chunk))
            for row in rows:
                id, first, _, written_at, _, place = row  # the last row's is where to go on
                for version, entry in enumerate(self._entries(row[:5]), first):
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
        rows = await self._access.select(history.SESSIONS, {"after": after or "", "limit": limit})
        return [id for (id,) in rows]

    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        """Where these sessions stand."""
        rows = await self._access.select(history.HEADS, (json.dumps(list(sessions)),))
        return {head.session: head for head in map(head_of, rows)}

    async def survey(self, *, after: SessionId | None, limit: int) -> Sequence[Head]:
        """Where all sessions stand, in order of id."""
        return [
            head_of(row) for row in await self._access.select(history.SURVEY, {"after": after or "", "limit": limit})
        ]

    async def tails(self, marks: Mapping[SessionId, int]) -> AsyncIterator[StoredEntry]:
        """The entries of many sessions, each after a version."""
        cursor = await self._access.run(
            "read", partial(self._access.cursor, history.TAILS, (json.dumps(list(marks.items())),))
        )
        try:
            while rows := await self._access.run("read", partial(self._access.fetch, cursor, CHUNK)):
                for row in rows:
                    id, first, _, written_at, _ = row
                    for version, entry in enumerate(self._entries(row), first):
                        yield StoredEntry(session=id, version=version, written_at=written_at, entry=entry)
        finally:
            await self._access.run("read", cursor.close)

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Records in order of id."""
        values = {"session": session, "component": component, "after": after, "limit": limit}
        return [record_of(row) for row in await self._access.select(RECORDS, {**values, "pattern": pattern_of(query)})]

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        rows = await self._access.select(f"{RECORD} AND item = :item", {"session": session, "item": item})
        if not rows:
            return None
        texts = await self._access.select(CONTENT, (session, item, rows[0][-1]))
        return record_of(rows[0], content=texts[0][0] if texts else None)

    # --- profiles ---------------------------------------------------------------------------------------------------

    async def profiles(self, agents: Collection[str] | None = None) -> Mapping[str, Profile]:
        """What is known of agents."""
        rows = await self._access.select(PROFILES, {"agents": None if agents is None else json.dumps(list(agents))})
        return {agent: decode_profile(state) for agent, state in rows}

    async def keep_profile(self, agent: str, profile: Profile | None) -> None:
        """Store a profile, or forget it."""

        def work() -> None:
            with self._access.transaction("cannot keep a profile") as write:
                keep(write, agent, profile)
            self._log.pages += 2

        await self._access.write(work)

    # --- snapshots, and forgetting ----------------------------------------------------------------------------------

    async def snapshots(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Snapshot]:
        """The snapshots of sessions."""
        rows = await self._access.select(history.SNAPSHOTS, (json.dumps(list(sessions)),))
        return {snapshot.session: snapshot for snapshot in map(snapshot_of, rows) if snapshot is not None}

    async def keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Store these in place of older ones."""

        def keep() -> None:
            with self._access.transaction("cannot keep a snapshot") as write:
                for snapshot in snapshots:
                    write(history.KEEP_SNAPSHOT, {name: getattr(snapshot, name) for name in Snapshot.__slots__})
                    self._log.pages += 1 + len(snapshot.state) // PAGE

        await self._access.write(keep)

    async def size(self) -> int:
        """Bytes of the pages in use; what was forgotten leaves free pages, which are used again."""
        ((pages,), (free,), (size,)) = [
            (await self._access.select(f"PRAGMA {name}", ()))[0]
            for name in ("page_count", "freelist_count", "page_size")
        ]
        return int((pages - free) * size)

    async def forget_session(self, head: Head) -> bool:
        """Delete a closed session."""
        return await forget_session(self._access, head)

    async def forget_entries(self, session: SessionId, *, before: float) -> int:
        """Delete old frames that the snapshot covers."""
        return await forget_entries(self._access, session, before)

    async def forget_archive(self, session: SessionId, *, before: float) -> int:
        """Delete old archive records with their contents."""
        return await forget_archive(self._access, session, before)

    def _entries(self, row: Sequence[Any]) -> Sequence[AnyEntry]:
        try:
            return entries_of(row)
        except Damaged as error:
            raise Damaged(f"journal {self.path}: session {row[0]!r} at version {row[1]}: {error}") from error
