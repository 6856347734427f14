"""The ledger's face: commands come in, reads are answered, idle sessions are looked for."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from sidecar.budget.commands import Command, ExpireSession, LapseLeases
from sidecar.budget.decide import Defaults
from sidecar.budget.errors import BudgetError, NotFound
from sidecar.budget.profile import Profile
from sidecar.budget.replies import SessionSummary
from sidecar.budget.report import summary
from sidecar.budget.session import Session
from sidecar.journal import ArchiveRecord, Journal, JournalError, SessionId, StoredEntry
from sidecar.journal.freezing import thaw
from sidecar.ledger.ages import Ages
from sidecar.ledger.contract import Ask, Limits, Origin, Overloaded, Reply, SessionView, Sink
from sidecar.ledger.profiles import Profiles
from sidecar.ledger.residents import Residents
from sidecar.ledger.retention import Keep, Retention
from sidecar.ledger.snapshots import Snapshots
from sidecar.ledger.writer import Writer

_log = logging.getLogger(__name__)

OWN = Origin(receiver="idle")  # of what nobody asked for
_LOOK_SECONDS = 0.5  # a read waits no longer for a store that did not take the last write
_TOGETHER = 1_000  # sessions whose place in the store is asked for at a time


def _nothing(what: str, reason: str, count: int) -> None:
    """Nobody counts."""


class Ledger:
    """Commands in, durable entries out.

    `on_append` is told of every append: seconds, entries, whether it succeeded; `on_moved` of a session that another
    replica serves now; `on_dropped` of what was lost on purpose: what, why, how many. `steady`: seconds on a clock that
    nobody sets; without it `clock` is believed when it leaps.
    """

    def __init__(  # noqa: PLR0913 - each is named where it is wired
        self,
        journal: Journal,
        *,
        defaults: Defaults | None = None,
        sinks: Sequence[Sink] = (),
        limits: Limits | None = None,
        keep: Keep | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        stopwatch: Callable[[], float] = time.perf_counter,
        on_append: Callable[[float, int, bool], None] | None = None,
        on_moved: Callable[[Session], None] | None = None,
        on_dropped: Callable[[str, str, int], None] = _nothing,
    ) -> None:
        self._journal = journal
        self._sinks = sinks
        self._limits = limits or Limits()
        self._clock = clock
        self._on_moved = on_moved
        self._residents = Residents(
            journal, closed=self._limits.closed_in_memory, parts=self._limits.closed_parts_in_memory
        )
        self._snapshots = Snapshots(
            journal,
            self._residents,
            every=self._limits.snapshot_every,
            settled=self.settled,
            durable=lambda: self.journal_up,
        )
        self._keep = keep or Keep()
        self._ages = Ages(clock, steady)
        self._retention = Retention(journal, self._residents, self._keep, dropped=on_dropped, clock=self._ages.now)
        defaults = defaults or Defaults()
        self._profiles = Profiles(journal, defaults.profiles)
        self._writer = Writer(
            journal,
            self._residents,
            defaults=defaults,
            profiles=self._profiles,
            sinks=sinks,
            limits=self._limits,
            clock=clock,
            stopwatch=stopwatch,
            on_append=on_append,
            on_grown=self._snapshots.grown,
            on_dropped=on_dropped,
        )
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the journal, rebuild every open session from it, begin to take turns. Raises `JournalError`."""
        try:
            await self._journal.open()
        except JournalError as error:
            self._writer.unopened = error
            raise
        try:
            await self._profiles.load()
            for past in await self._residents.restore():
                self._snapshots.found(past.session.id, past.snapshot)
                self._snapshots.grown(past.session)
        except BaseException:
            await self._journal.close()
            raise
        self._writer.start()
        self._background = [
            asyncio.create_task(self._sweep()),
            asyncio.create_task(self._snapshots.run()),
            asyncio.create_task(self._forget()),
        ]

    async def stop(self, *, patience: float = 3.0) -> None:
        """Take no more commands, finish those that wait (for at most `patience` seconds), close the journal."""
        for task in self._background:
            task.cancel()
        await self._writer.stop(patience)
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._journal.close()

    @property
    def journal_up(self) -> bool:
        """Whether the journal is open and took the last write."""
        return self._writer.journal_up

    @property
    def conflicts(self) -> int:
        """How often what was decided on a session came too late, because another replica was first."""
        return self._writer.conflicts

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
        ask = Ask(session, command, origin, answered, auto_open)
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
        if found is not None and self._journal.shared:
            await self._look_at_store(found)
            found = self._residents.get(session)
        if found is None:
            read = await self._residents.fold(session)
            await self.settled()
            found = self._residents.get(session) or read
        if found is None:
            raise NotFound(f"session {session!r} does not exist", path="session")
        if self._leases_ran_out(found):
            with contextlib.suppress(BudgetError, JournalError, Overloaded):  # then they lapse with the next command
                await self.handle(session, LapseLeases(), origin=OWN, answered=False)
            await self.settled()
            found = self._residents.get(session) or await self._residents.fold(session)
            if found is None:
                raise NotFound(f"session {session!r} does not exist", path="session")
        return SessionView(session=found, idle=self._residents.is_idle(session))

    async def _look_at_store(self, session: Session) -> None:
        """Forget the session if others have moved it; where the store is away, reads go on from what memory has.

        That the last write failed does not say that the store is still away: others may write to it already.
        """
        if self._writer.is_astray(session.id):
            return
        with contextlib.suppress(JournalError, TimeoutError):
            async with asyncio.timeout(None if self.journal_up else _LOOK_SECONDS):
                await self.drop_moved([session])

    def _leases_ran_out(self, session: Session) -> bool:
        """Whether leases lapse by the server's time: in a session that has none of its host's."""
        due = session.next_lapse
        return due is not None and not session.host_clock and not session.closed and due <= self._clock()

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

    async def snapshot(self, session: SessionId) -> Session | None:
        """A copy of the session as its snapshot has it: the place to fold from where first entries were forgotten.

        Raises `JournalError`.
        """
        found = (await self._journal.snapshots([session])).get(session)
        return None if found is None else thaw(found)

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

    # --- what is known of agents ------------------------------------------------------------------------------------

    async def profiles(self) -> Mapping[str, Profile]:
        """What is known of agents, by agent in order: given by the operator, or learned. Raises `JournalError`."""
        if self._journal.shared:
            await self._profiles.load()
        return dict(sorted(self._profiles.known.items()))

    async def keep_profile(self, agent: str, profile: Profile | None) -> None:
        """Have an agent's next session start from this profile, or forget what was learned of it (None).

        Raises `JournalError`.
        """
        await self.settled()
        await self._profiles.keep(agent, profile)

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

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(self._keep.every)
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
                await self._residents.bring(head.session)

    async def expire(self) -> None:
        """Retire the sessions that nothing was heard of for `idle_after`, close those for `close_after` (SPEC 3.9)."""
        await self.settled()
        if self._journal.shared:
            await self.drop_moved(self._residents.all())
        leap, now = self._ages.leapt(), self._clock()
        if leap:
            _log.warning("the clock was set forward by %.0f seconds: sessions are as old as they were", leap)
            self._residents.age_less(leap, now)
        self._residents.count_from(now)
        for session in self._residents.retire(before=now - self._limits.idle_after):
            self._snapshots.rests(session)
            for sink in self._sinks:
                sink.retire(session)
        silent = self._residents.silent(before=now - self._limits.close_after)
        for start in range(0, len(silent), self._limits.turn_commands):
            await self.handle_all(
                [
                    Ask(session=id, command=ExpireSession(), origin=OWN)
                    for id in silent[start : start + self._limits.turn_commands]
                ]
            )

    # --- a store that others write to as well -----------------------------------------------------------------------

    async def drop_moved(self, sessions: Collection[Session]) -> None:
        """Forget what the store has otherwise: others serve it now, or a failover has lost it. Raises `JournalError`.

        Call it after `settled`: what memory has then is durable.
        """
        for start in range(0, len(sessions), _TOGETHER):
            together = list(sessions)[start : start + _TOGETHER]
            durable = {session.id: session.version for session in together}
            heads = await self._journal.heads(list(durable))
            await self.settled()
            for id, version in durable.items():
                session = self._residents.get(id)
                stored = heads[id].version if id in heads else 0
                if session is not None and not version <= stored <= session.version:
                    self._residents.drop(id)
                    if self._on_moved is not None:
                        self._on_moved(session)
