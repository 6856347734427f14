"""The time in which the journal takes no writes: what is refused, what goes on in memory, and how it ends by itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from sidecar.budget.commands import ChangeSession, CloseSession, EraseArchive, ExpireSession, LapseLeases, RestoreItem
from sidecar.journal import Journal, JournalError, SessionId
from sidecar.ledger.contract import Ask
from sidecar.ledger.residents import Residents

_log = logging.getLogger(__name__)

# Whoever asks for these counts on them: they are never decided in memory alone.
_LASTING = ChangeSession, CloseSession, EraseArchive, ExpireSession, LapseLeases, RestoreItem

_HEAL_FIRST, _HEAL_LAST = 0.05, 5.0  # seconds between attempts to write to a journal that is down


class Outage:
    """Whether there is one: `error` says of what kind.

    `observe`: observed sessions go on in memory meanwhile. `settled` waits until no turn is under way.
    """

    def __init__(
        self,
        journal: Journal,
        residents: Residents,
        *,
        observe: bool,
        settled: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._residents = residents
        self._observe = observe
        self._settled = settled
        self._clock = clock
        self._healing: asyncio.Task[None] | None = None
        self._astray: dict[SessionId, None] = {}
        self.error: JournalError | None = None

    def begin(self, error: JournalError) -> None:
        """The journal failed; from now on it is tried again and again."""
        _log.error("the journal takes no writes: %s", error)
        healing = self.error is not None
        self.error = error
        if not healing:
            self._healing = asyncio.create_task(self._heal())

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is under way, to be cancelled in the end."""
        return [] if self._healing is None else [self._healing]

    def goes_on(self, ask: Ask) -> bool:
        """Whether it is decided in memory alone meanwhile: of an observed session, and if so told."""
        session = self._residents.get(ask.session) if self._observe else None
        watched = session is not None and session.mode == "observed" and not session.closed
        return watched and not isinstance(ask.command, _LASTING)

    def lead_astray(self, sessions: Iterable[SessionId]) -> None:
        """These have entries in memory that the journal does not have."""
        self._astray.update(dict.fromkeys(sessions))

    def is_astray(self, session: SessionId) -> bool:
        """Whether it has such entries."""
        return session in self._astray

    async def _heal(self) -> None:
        pause = _HEAL_FIRST
        while self.error is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _HEAL_LAST)
            try:
                await self._try()
            except JournalError:
                pass  # it is known already
            except Exception:  # noqa: BLE001 - the next time may fare better
                _log.exception("the journal could not be tried")
        _log.info("the journal takes writes again")

    async def _try(self) -> None:
        another = await self._journal.check()
        await self._settled()
        everything = [session.id for session in self._residents.all()] if another else []
        self._residents.suspect([*self._astray, *everything], now=self._clock())
        self._astray.clear()
        self._residents.try_again()
        await self._residents.reread()
        if not self._astray:  # none has gone on meanwhile
            self.error = None
