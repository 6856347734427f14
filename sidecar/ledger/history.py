"""Sessions out of the journal: from their snapshot where there is one to believe, else from their first entry.

Both give the same session (a property test); the snapshot only saves reading what came before it. Where the first
entries have been forgotten there is no other way, and any snapshot will do (journal/freezing.py).
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from sidecar.budget.evolve import evolve
from sidecar.budget.session import Session
from sidecar.journal import Damaged, Head, Journal, JournalError, SessionId, Snapshot, StoredEntry
from sidecar.journal.freezing import ours, thaw

_log = logging.getLogger(__name__)

_PAGE = 500  # sessions looked at together


@dataclass(frozen=True, slots=True)
class Past:
    """A session as the journal has it, when its newest entry was written, and up to where its snapshot goes."""

    session: Session
    written_at: float
    snapshot: int


class History:
    """Reads sessions. All methods raise `JournalError`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def session(self, id: SessionId) -> Past | None:
        """One session, if the journal has it."""
        snapshot = (await self._journal.snapshots([id])).get(id)
        past = _begin(snapshot)
        after = 0 if past is None else past.session.version
        async for stored in self._journal.read(id, after=after):
            if past is None and stored.version > 1:
                past = _begin(snapshot, anyway=True)
            if past is None or stored.version > past.session.version:
                past = _go_on(past, stored)
        return past

    async def later(self, past: Past) -> Past:
        """The session with what was written after it was read: it is changed."""
        async for stored in self._journal.read(past.session.id, after=past.session.version):
            past = _go_on(past, stored)
        return past

    async def open_sessions(self, *, damaged: Callable[[Head, Damaged], None]) -> AsyncIterator[Past]:
        """Every open session; of a shared journal those that we wrote to last. In order of id.

        One that is damaged is left out, and `damaged` told of it: it must not take the others with it.
        """
        after: SessionId | None = None
        while True:
            heads = await self._journal.survey(after=after, limit=_PAGE)
            chosen = [
                head
                for head in heads
                if not head.closed and (not self._journal.shared or head.writer == self._journal.writer)
            ]
            try:
                together = await self._sessions([head.session for head in chosen])
            except Damaged:
                together = await self._one_by_one(chosen, damaged)
            for past in together.values():
                yield past
            if len(heads) < _PAGE:
                return
            after = heads[-1].session

    async def _one_by_one(
        self, heads: Collection[Head], damaged: Callable[[Head, Damaged], None]
    ) -> dict[SessionId, Past]:
        found: dict[SessionId, Past] = {}
        for head in heads:
            try:
                past = await self.session(head.session)
            except Damaged as error:
                damaged(head, error)
            else:
                if past is not None:
                    found[head.session] = past
        return found

    async def _sessions(self, ids: Collection[SessionId]) -> dict[SessionId, Past]:
        """Many sessions, read together."""
        found: dict[SessionId, Past] = {}
        for id, snapshot in (await self._journal.snapshots(ids)).items():
            past = _begin(snapshot)
            if past is not None:
                found[id] = past
        begun = {id: found[id].session.version if id in found else 0 for id in ids}
        lost: dict[SessionId, None] = {}  # the first entries are forgotten, and the snapshot is another release's
        async for stored in self._journal.tails(begun):
            id = stored.session
            if id in found or stored.version == 1:
                found[id] = _go_on(found.get(id), stored)
            else:
                lost[id] = None
        for id in lost:
            past = await self.session(id)
            if past is not None:
                found[id] = past
        return found


def _begin(snapshot: Snapshot | None, *, anyway: bool = False) -> Past | None:
    """The session of a snapshot, if that is to be believed; or, for want of anything else, in any case."""
    if snapshot is None or not (anyway or ours(snapshot)):
        return None
    try:
        return Past(thaw(snapshot), snapshot.written_at, snapshot.version)
    except JournalError as error:
        if anyway:
            raise Damaged(*error.args) from error
        _log.warning("%s; its entries are read instead", error)
        return None


def _go_on(past: Past | None, stored: StoredEntry) -> Past:
    session = None if past is None else past.session
    version = 0 if session is None else session.version
    if stored.version != version + 1:
        raise Damaged(f"session {stored.session!r} cannot be rebuilt: version {version + 1} is missing")
    try:
        return Past(
            evolve(session, stored.entry, id=stored.session), stored.written_at, 0 if past is None else past.snapshot
        )
    except Exception as error:  # whatever evolving stumbles over, it was never written by it
        raise Damaged(f"session {stored.session!r} cannot be rebuilt: at version {stored.version}, {error}") from error
