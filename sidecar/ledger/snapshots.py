"""Snapshots: so that a restart reads what came after one, and not everything.

One is taken when a session has grown by `every` entries since the last, or by as many as it holds items where those
are more, so that writing all of it is never more work than what was done since; and sooner when it goes idle or is
closed.
It is taken between turns, of what is durable, and stored beside the turns; where that fails, nothing is lost.

Nobody waits for a snapshot, so what takes long is done bit by bit, and turns are taken in between: those of a few busy
sessions, in one go, held the event loop for ten milliseconds, and were the slowest hundredth of all answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from sidecar.budget.session import Session
from sidecar.journal import Journal, JournalError, SessionId, Snapshot
from sidecar.journal.freezing import freeze_in_pieces
from sidecar.ledger.residents import Residents

_log = logging.getLogger(__name__)

_TOGETHER = 16  # stored in one go, but no more once they have so many bytes: that holds the event loop
_MUCH = 50_000
_PAUSE = 0.001  # seconds between two bits


class Snapshots:
    """Takes them. `settled` waits until no turn is under way, `durable` tells whether all that is in memory is."""

    def __init__(
        self,
        journal: Journal,
        residents: Residents,
        *,
        every: int,
        settled: Callable[[], Awaitable[None]],
        durable: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._residents = residents
        self._every = every
        self._settled = settled
        self._durable = durable
        self._versions: dict[SessionId, int] = {}  # of the newest snapshots, of open sessions
        self._due: dict[SessionId, None] = {}
        self._some_due = asyncio.Event()
        self._taking = asyncio.Lock()

    def found(self, id: SessionId, version: int) -> None:
        """The journal has a snapshot of that version."""
        self._versions[id] = version

    def grown(self, session: Session) -> None:
        """The session has got entries; or, where it rests, may not get any for a while."""
        since = session.version - self._versions.get(session.id, 0)
        often = since >= self._every and since >= sum([len(held.items) for held in session.components.values()])
        if often or (session.closed and since >= self._every // 10):
            self._want(session.id)
        elif session.closed:
            self._versions.pop(session.id, None)

    def rests(self, session: Session) -> None:
        """The session went idle."""
        if session.version - self._versions.get(session.id, 0) >= self._every // 10:
            self._want(session.id)

    def _want(self, id: SessionId) -> None:
        self._due[id] = None
        self._some_due.set()

    async def run(self) -> None:
        """Take what is due, for ever."""
        while True:
            await self._some_due.wait()
            try:
                await self.take()
            except JournalError as error:
                _log.info("snapshots wait: %s", error)
                await asyncio.sleep(1)

    async def take(self) -> None:
        """Take what is due now. Raises `JournalError`."""
        async with self._taking:
            while self._due:
                taken: list[Snapshot] = []
                try:
                    await self._freeze(taken)
                    await self._journal.keep_snapshots(taken)
                except JournalError:
                    for snapshot in taken:  # they have none, and are due again with their next entry
                        self._versions.pop(snapshot.session, None)
                    raise
                await asyncio.sleep(_PAUSE)
            self._some_due.clear()

    async def _freeze(self, taken: list[Snapshot]) -> None:
        """Take those to be stored next. Raises `JournalError`."""
        size = 0
        while self._due and len(taken) < _TOGETHER and size < _MUCH:
            snapshot = await self._freeze_next()
            if snapshot is not None:
                taken.append(snapshot)
                size += len(snapshot.state)

    async def _freeze_next(self) -> Snapshot | None:
        await self._settled()
        if not self._durable():
            raise JournalError("the journal takes no writes")
        id = next(iter(self._due))
        del self._due[id]
        session, written_at = self._residents.get(id), self._residents.seen(id)
        if session is None or written_at is None:
            self._versions.pop(id, None)
            return None
        if session.closed:  # it grows no more, and sessions that have been are not remembered for ever
            self._versions.pop(id, None)
        else:  # now, or what it grows by meanwhile would make it due once more
            self._versions[id] = session.version
        pieces = freeze_in_pieces(session, written_at=written_at)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return cast("Snapshot", end.value)
            await asyncio.sleep(_PAUSE)
