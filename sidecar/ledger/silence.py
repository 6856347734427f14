"""Silent sessions: looked for again and again, idle after a while, closed after a longer one (SPEC 3.9).

What they leave behind is forgotten from time to time, too (retention.py).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

from sidecar.budget.commands import ExpireSession
from sidecar.journal import Damaged, JournalError, SessionId
from sidecar.ledger.ages import Ages
from sidecar.ledger.contract import Ask, Limits, Origin, Overloaded, Sink
from sidecar.ledger.moved import Moved
from sidecar.ledger.residents import Residents
from sidecar.ledger.retention import Retention
from sidecar.ledger.snapshots import Snapshots

_log = logging.getLogger(__name__)

OWN = Origin(receiver="idle")  # of what nobody asked for


class Silence:
    """Looks for them. `handle_all` gives commands to the ledger, `settled` waits until no turn is under way."""

    def __init__(  # noqa: PLR0913 - each is named where it is wired
        self,
        residents: Residents,
        moved: Moved,
        snapshots: Snapshots,
        retention: Retention,
        *,
        limits: Limits,
        sinks: Sequence[Sink],
        ages: Ages,
        clock: Callable[[], float],
        settled: Callable[[], Awaitable[None]],
        handle_all: Callable[[Sequence[Ask]], Awaitable[object]],
    ) -> None:
        self._residents = residents
        self._moved = moved
        self._snapshots = snapshots
        self._retention = retention
        self._limits = limits
        self._sinks = sinks
        self._ages = ages
        self._clock = clock
        self._settled = settled
        self._handle_all = handle_all

    def watching(self, *, forget_every: float) -> Collection[Coroutine[None, None, None]]:
        """What goes on in the background, for ever: sessions expire, and every so many seconds some are forgotten."""
        return self._expire_again_and_again(), self._forget_again_and_again(forget_every)

    async def _expire_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_every)
            try:
                await self.expire()
            except (JournalError, Overloaded):
                pass  # the next sweep finds the same sessions
            except Exception:  # noqa: BLE001 - the next sweep may fare better
                _log.exception("idle sessions could not be looked for")

    async def _forget_again_and_again(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await self.forget()
            except (JournalError, Overloaded) as error:
                _log.info("nothing is forgotten for now: %s", error)
            except Exception:  # noqa: BLE001 - the next time may fare better
                _log.exception("what is too old could not be forgotten")

    async def forget(self) -> None:
        """Forget what is too old or too much; take up open sessions that were silent for `close_after`, to close them.

        Raises `JournalError`.
        """
        for head in await self._retention.forget():
            silent = head.written_at < self._ages.now() - self._limits.close_after
            if silent and self._residents.get(head.session) is None:
                with contextlib.suppress(Damaged):  # whoever asks for it is told
                    await self._residents.bring(head.session)

    async def expire(self) -> None:
        """Retire the sessions that nothing was heard of for `idle_after`, close those for `close_after`."""
        await self._settled()
        await self._moved.drop(self._residents.all())
        leap, now = self._ages.leapt(), self._clock()
        if leap:
            _log.warning("the clock was set forward by %.0f seconds: sessions are as old as they were", leap)
            self._residents.age_less(leap, now)
        self._residents.count_from(now)
        for session in self._residents.retire(before=now - self._limits.idle_after):
            self._snapshots.rests(session)
            for sink in self._sinks:
                sink.retire(session)
        await self._close(self._residents.silent(before=now - self._limits.close_after))

    async def _close(self, silent: Sequence[SessionId]) -> None:
        together = self._limits.turn_commands
        for start in range(0, len(silent), together):
            await self._handle_all(
                [Ask(session=id, command=ExpireSession(), origin=OWN) for id in silent[start : start + together]]
            )
