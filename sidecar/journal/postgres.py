"""The shared journal: one PostgreSQL database, or one that speaks like it, behind any number of sidecars.

A frame is stored where it comes next in its session, and the primary key decides between two writers who believe that
at once: one of them is told of a conflict, reads what the other wrote, and decides again. Each frame is a transaction
of its own, so sessions never wait for each other, wherever their rows are; only frames that teach the same agent
something (journal/profiles.py) do.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal

from sidecar.budget.entries import AnyEntry, Closed
from sidecar.budget.profile import Profile
from sidecar.journal import ArchiveRecord, Damaged, Frame, Head, JournalError, Outcome, SessionId, Snapshot, StoredEntry
from sidecar.journal import postgres_history as history
from sidecar.journal.codec import decode, encode
from sidecar.journal.postgres_archive import (
    CONTENT,
    OLD_CONTENTS,
    OLD_RECORDS,
    RECORD,
    RECORDS,
    archive_statements,
    pattern_of,
    record_of,
    store_archive,
)
from sidecar.journal.postgres_profiles import PROFILES, keep, learn_frame
from sidecar.journal.postgres_store import (
    CONNECTIONS,
    PROMPTLY,
    BrokenConnection,
    Conflicting,
    Connection,
    Store,
    transaction,
)
from sidecar.journal.profiles import decode_profile, lessons

_CHUNK = 256  # frames fetched at a time
_LAST = 2**62  # a version that no session comes to
_READ = """
    SELECT first, written_at, entries FROM frames WHERE session = $1 AND first > coalesce(
        $3::bigint, (SELECT max(first) FROM frames WHERE session = $1 AND first <= $2::bigint + 1) - 1, 0)
    ORDER BY first LIMIT $4
"""


class PostgresJournal:
    """A `Journal` in the database at `url`. `writer` names this sidecar among those who share it.

    `durability`: `full` asks the server to flush every commit; `normal` leaves it to the server's own settings.
    """

    shared = True

    def __init__(self, url: str, *, writer: str, durability: Literal["normal", "full"] = "normal") -> None:
        self.writer = writer
        self._store = Store(url, synchronous=durability == "full")

    async def open(self) -> None:
        """Connect, create the tables if they are missing. Raises `JournalError` with what is wrong and where."""
        await self._store.open()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._store.close()

    async def check(self) -> bool:
        """Write, and take it back. What a failover has lost is told by where the sessions stand (`heads`)."""
        if not self._store.is_open:
            await self.open()
        async with self._store.connection("takes no writes", within=PROMPTLY) as connection, transaction(connection):
            for statement in history.TOUCH:
                await connection.execute(statement)
        return False

    # --- frames -----------------------------------------------------------------------------------------------------

    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        """Store the frames that come next in their session, each in a transaction; those of a session in order."""
        outcomes: list[Outcome] = ["conflict"] * len(frames)
        lanes: dict[SessionId, list[int]] = {}
        for place, frame in enumerate(frames):
            lanes.setdefault(frame.session, []).append(place)
        waiting = iter(lanes.values())

        idle: list[JournalError] = []  # of workers that got no connection: the others have their work

        async def work() -> None:
            connected = False
            try:
                async with self._store.connection("cannot store", within=PROMPTLY, patient=False) as connection:
                    connected = True
                    for places in waiting:
                        for place in places:
                            outcomes[place] = await self._append(connection, frames[place])
            except JournalError as error:
                if connected:
                    raise
                idle.append(error)

        workers = [asyncio.ensure_future(work()) for _ in range(min(CONNECTIONS, len(lanes)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if workers and len(idle) == len(workers):
            raise idle[0]
        return outcomes

    async def _append(self, connection: Connection, frame: Frame) -> Outcome:
        archive = archive_statements(frame)
        teaches = bool(lessons(frame))
        reopens = frame.first > 1 and frame.entries[0].type == "opened"
        try:
            if not archive and not reopens and not teaches:
                return await self._store_frame(connection, frame)
            async with transaction(connection):
                if reopens:  # it might be forgotten at this moment: `forget_session` takes the same lock
                    await connection.execute(history.LOCK_NEWEST, frame.session)
                outcome = await self._store_frame(connection, frame)
                if outcome == "stored":
                    await store_archive(connection, archive)
                    if teaches:
                        await learn_frame(connection, frame)
                return outcome
        except Conflicting:
            return "conflict"

    async def _store_frame(self, connection: Connection, frame: Frame) -> Outcome:
        stored = await connection.fetchval(
            history.STORE_FRAME,
            frame.session,
            frame.first,
            len(frame.entries),
            frame.written_at,
            self.writer,
            isinstance(frame.entries[-1], Closed),
            encode(frame.entries),
        )
        return "conflict" if stored is None else "stored"

    async def read(
        self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None
    ) -> AsyncIterator[StoredEntry]:
        """Entries after version `after`, of one session or of all."""
        left = limit
        async for stored in self._all(after) if session is None else self._entries_of(session, after, limit):
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield stored

    async def _all(self, after: int) -> AsyncIterator[StoredEntry]:
        last: SessionId | None = None
        while ids := await self.sessions(after=last, limit=_CHUNK):
            for last in ids:
                async for stored in self._entries_of(last, after, None):
                    yield stored

    async def _entries_of(self, session: SessionId, after: int, limit: int | None) -> AsyncIterator[StoredEntry]:
        """One session's entries; `limit` only says how many are wanted, so that no more are fetched."""
        chunk = _CHUNK if limit is None else max(1, min(_CHUNK, limit))
        place: int | None = None
        while True:
            rows = await self._fetch(_READ, session, min(after, _LAST), place, chunk)
            for place, written_at, data in rows:
                for version, entry in enumerate(self._entries(session, place, data), place):
                    if version > after:
                        yield StoredEntry(session=session, version=version, written_at=written_at, entry=entry)
            if len(rows) < chunk:
                return

    async def tails(self, marks: Mapping[SessionId, int]) -> AsyncIterator[StoredEntry]:
        """The entries of many sessions, each after a version."""
        async with self._store.connection("cannot be read") as connection, connection.transaction():
            rows = connection.cursor(history.TAILS, list(marks), list(marks.values()), prefetch=_CHUNK)
            async for id, first, written_at, data in rows:
                for version, entry in enumerate(self._entries(id, first, data), first):
                    yield StoredEntry(session=id, version=version, written_at=written_at, entry=entry)

    async def sessions(self, *, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Ids in order."""
        return [id for (id,) in await self._fetch(history.SESSIONS, after or "", limit)]

    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        """Where these sessions stand."""
        rows = await self._fetch(history.HEADS, list(sessions))
        return {head.session: head for head in map(history.head_of, rows)}

    async def survey(self, *, after: SessionId | None, limit: int) -> Sequence[Head]:
        """Where all sessions stand, in order of id."""
        ids = await self.sessions(after=after, limit=limit)
        heads = await self.heads(ids)
        return [heads[id] for id in ids if id in heads]

    # --- the archive ------------------------------------------------------------------------------------------------

    async def archived(
        self, session: SessionId, *, component: str | None, query: str | None, after: str | None, limit: int
    ) -> Sequence[ArchiveRecord]:
        """Records in order of id."""
        rows = await self._fetch(RECORDS, session, after, component, pattern_of(query), limit)
        return [record_of(row) for row in rows]

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord | None:
        """One record with its content."""
        rows = await self._fetch(f"{RECORD} AND item = $2", session, item)
        if not rows:
            return None
        texts = await self._fetch(CONTENT, session, item, rows[0][-1])
        return record_of(rows[0], content=texts[0][0] if texts else None)

    # --- profiles ---------------------------------------------------------------------------------------------------

    async def profiles(self, agents: Collection[str] | None = None) -> Mapping[str, Profile]:
        """What is known of agents."""
        rows = await self._fetch(PROFILES, None if agents is None else list(agents))
        return {agent: decode_profile(state) for agent, state in rows}

    async def keep_profile(self, agent: str, profile: Profile | None) -> None:
        """Store a profile, or forget it."""
        async with self._store.connection("cannot keep a profile") as connection, transaction(connection):
            await keep(connection, agent, profile)

    # --- snapshots, and forgetting ----------------------------------------------------------------------------------

    async def snapshots(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Snapshot]:
        """The snapshots of sessions."""
        rows = await self._fetch(history.SNAPSHOTS, list(sessions))
        return {snapshot.session: snapshot for snapshot in map(history.snapshot_of, rows)}

    async def keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Store these in place of older ones."""
        async with self._store.connection("cannot keep a snapshot") as connection:
            for snapshot in snapshots:
                values = (getattr(snapshot, name) for name in Snapshot.__slots__)
                await connection.execute(history.KEEP_SNAPSHOT, *values)

    async def size(self) -> int:
        """Bytes of the tables with their indexes."""
        ((size,),) = await self._fetch(history.SIZE)
        return int(size)

    async def forget_session(self, head: Head) -> bool:
        """Delete a closed session, unless somebody opens it again."""
        async with self._store.connection("cannot forget a session") as connection, transaction(connection):
            await connection.execute(history.LOCK_NEWEST, head.session)
            row = await connection.fetchrow(history.HEADS, [head.session])
            if row is None or history.head_of(list(row)) != head or not head.closed:
                return False
            for statement in history.FORGET_SESSION:
                await connection.execute(statement, head.session)
            return True

    async def forget_entries(self, session: SessionId, *, before: float) -> int:
        """Delete old frames that the snapshot covers."""
        async with self._store.connection("cannot forget entries") as connection:
            return int(await connection.fetchval(history.FORGET_ENTRIES, session, before))

    async def forget_archive(self, session: SessionId, *, before: float) -> int:
        """Delete old archive records with their contents."""
        async with self._store.connection("cannot forget the archive") as connection, transaction(connection):
            await connection.execute(OLD_CONTENTS, session, before)
            return int((await connection.execute(OLD_RECORDS, session, before)).split()[-1])

    async def _fetch(self, statement: str, *values: object) -> Sequence[Any]:
        try:
            return await self._fetch_once(statement, *values)
        except BrokenConnection:  # to read twice is harmless
            return await self._fetch_once(statement, *values)

    async def _fetch_once(self, statement: str, *values: object) -> Sequence[Any]:
        async with self._store.connection("cannot be read", within=PROMPTLY) as connection:
            return await connection.fetch(statement, *values)

    def _entries(self, session: SessionId, first: int, data: bytes) -> Sequence[AnyEntry]:
        try:
            return decode(data)
        except Damaged as error:
            raise Damaged(f"journal {self._store.name}: session {session!r} at version {first}: {error}") from error
