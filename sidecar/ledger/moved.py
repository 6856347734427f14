"""Sessions that the store has otherwise than memory: others serve them now, or a failover has lost what was written."""

import asyncio
import contextlib
from collections.abc import Callable, Collection

from sidecar.budget.session import Session
from sidecar.journal import Journal, JournalError
from sidecar.ledger.residents import Residents
from sidecar.ledger.writer import Writer

_LOOK_SECONDS = 0.5  # a read waits no longer for a store that did not take the last write
_TOGETHER = 1_000  # sessions whose place in the store is asked for at a time


class Moved:
    """Forgets such sessions where the store is shared. `on_moved` is told of each."""

    def __init__(
        self,
        journal: Journal,
        residents: Residents,
        writer: Writer,
        *,
        on_moved: Callable[[Session], None] | None,
    ) -> None:
        self._journal = journal
        self._residents = residents
        self._writer = writer
        self._on_moved = on_moved

    async def drop(self, sessions: Collection[Session]) -> None:
        """Forget those of the sessions that have moved. Raises `JournalError`.

        Call it after `settled`: what memory has then is durable.
        """
        if not self._journal.shared:
            return
        for start in range(0, len(sessions), _TOGETHER):
            together = list(sessions)[start : start + _TOGETHER]
            durable = {session.id: session.version for session in together}
            heads = await self._journal.heads(list(durable))
            await self._writer.settled()
            for id, version in durable.items():
                session = self._residents.get(id)
                stored = heads[id].version if id in heads else 0
                if session is not None and not version <= stored <= session.version:
                    self._residents.drop(id)
                    if self._on_moved is not None:
                        self._on_moved(session)

    async def look_at(self, session: Session) -> None:
        """Forget the session if it has moved; where the store is away, reads go on from what memory has.

        That the last write failed does not say that the store is still away: others may write to it already.
        """
        if self._writer.is_astray(session.id):
            return
        with contextlib.suppress(JournalError, TimeoutError):
            async with asyncio.timeout(None if self._writer.journal_up else _LOOK_SECONDS):
                await self.drop([session])
