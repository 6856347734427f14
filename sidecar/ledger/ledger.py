"""The ledger's face: commands come in, reads are answered, idle sessions are looked for."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence

from sidecar.budget.commands import Command, ExpireSession
from sidecar.budget.decide import Defaults
from sidecar.budget.errors import NotFound
from sidecar.budget.replies import SessionSummary
from sidecar.budget.report import summary
from sidecar.budget.session import Session
from sidecar.journal import ArchiveRecord, Journal, JournalError, SessionId, StoredEntry
from sidecar.ledger.contract import Ask, Limits, Origin, Overloaded, Reply, SessionView, Sink
from sidecar.ledger.residents import Residents
from sidecar.ledger.writer import Writer

_log = logging.getLogger(__name__)


class Ledger:
    """Commands in, durable entries out. `on_append` is told of every append: seconds, entries, whether it succeeded."""

    def __init__(
        self,
        journal: Journal,
        *,
        defaults: Defaults | None = None,
        sinks: Sequence[Sink] = (),
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.perf_counter,
        on_append: Callable[[float, int, bool], None] | None = None,
    ) -> None:
        self._journal = journal
        self._sinks = sinks
        self._limits = limits or Limits()
        self._clock = clock
        self._residents = Residents(journal, closed=self._limits.closed_in_memory)
        self._writer = Writer(
            journal,
            self._residents,
            defaults=defaults or Defaults(),
            sinks=sinks,
            limits=self._limits,
            clock=clock,
            stopwatch=stopwatch,
            on_append=on_append,
        )
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the journal, rebuild every open session from it, begin to take turns. Raises `JournalError`."""
        await self._journal.open()
        try:
            await self._residents.restore()
        except BaseException:
            await self._journal.close()
            raise
        self._writer.start()
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self, *, patience: float = 3.0) -> None:
        """Take no more commands, finish those that wait (for at most `patience` seconds), close the journal."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._writer.stop(patience)
        await self._journal.close()

    @property
    def journal_up(self) -> bool:
        """Whether the journal is open and took the last write."""
        return self._writer.journal_up

    # --- commands ---------------------------------------------------------------------------------------------------

    async def handle(
        self,
        session: SessionId,
        command: Command,
        *,
        origin: Origin | None = None,
        answered: bool = True,
        auto_open: bool = False,
    ) -> Reply:
        """Decide a command and make it durable. Raises `BudgetError`, `JournalError` or `Overloaded`."""
        ask = Ask(session=session, command=command, origin=origin, answered=answered, auto_open=auto_open)
        batch = self._writer.submit([ask])
        await batch.done
        answer = batch.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def handle_all(self, asks: Sequence[Ask]) -> Sequence[Reply | Exception]:
        """Decide commands that came together, in their order: for each its reply, or the error that it met.

        Raises `JournalError` or `Overloaded` where none of them was taken.
        """
        if not asks:
            return []
        batch = self._writer.submit(asks)
        await batch.done
        return batch.answers

    # --- reads ------------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until no turn is under way: from here to your next await, what is in memory is durable."""
        await self._writer.settled()

    def active(self) -> Collection[Session]:
        """The sessions that are neither idle nor closed; call it after `settled`."""
        return self._residents.active()

    async def view(self, session: SessionId) -> SessionView:
        """The session as it is durable, for reading before the next await. Raises `NotFound`, `JournalError`."""
        await self.settled()
        found = self._residents.get(session)
        if found is None:
            read = await self._residents.fold(session)
            await self.settled()
            found = self._residents.get(session) or read
        if found is None:
            raise NotFound(f"session {session!r} does not exist", path="session")
        return SessionView(session=found, idle=self._residents.is_idle(session))

    async def sessions(self, *, after: SessionId | None = None, limit: int = 100) -> list[SessionSummary]:
        """Sessions in order of id, after the id `after`."""
        summaries = []
        for id in await self._journal.sessions(after=after, limit=limit):
            view = await self.view(id)
            summaries.append(summary(view.session, idle=view.idle))
        return summaries

    async def entries(self, session: SessionId, *, after: int = 0, limit: int = 100) -> list[StoredEntry]:
        """A session's entries after version `after`. Raises `NotFound`, `JournalError`."""
        found = [stored async for stored in self._journal.read(session, after=after, limit=limit)]
        if not found:
            await self.view(session)  # which says whether there is such a session
        return found

    async def archive(
        self,
        session: SessionId,
        *,
        component: str | None = None,
        query: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[ArchiveRecord]:
        """A session's archive records in order of item, without content. Raises `NotFound`, `JournalError`."""
        found = await self._journal.archived(session, component=component, query=query, after=after, limit=limit)
        if not found:
            await self.view(session)
        return found

    async def archive_record(self, session: SessionId, item: str) -> ArchiveRecord:
        """One record with its content. Raises `NotFound`, `JournalError`."""
        record = await self._journal.archive_record(session, item)
        if record is None:
            await self.view(session)
            raise NotFound(f"item {item!r} is not in this session's archive", path="item")
        return record

    # --- idle sessions ----------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_every)
            try:
                await self.expire()
            except (JournalError, Overloaded):
                pass  # the next sweep finds the same sessions
            except Exception:  # noqa: BLE001 - the next sweep may fare better
                _log.exception("idle sessions could not be looked for")

    async def expire(self) -> None:
        """Retire the sessions that nothing was heard of for `idle_after`, close those for `close_after` (SPEC 3.9)."""
        await self.settled()
        now = self._clock()
        for session in self._residents.retire(before=now - self._limits.idle_after):
            for sink in self._sinks:
                sink.retire(session)
        silent = self._residents.silent(before=now - self._limits.close_after)
        for start in range(0, len(silent), self._limits.turn_commands):
            await self.handle_all(
                [
                    Ask(session=id, command=ExpireSession(), origin=Origin(receiver="idle"))
                    for id in silent[start : start + self._limits.turn_commands]
                ]
            )
