"""The ledger's face: commands come in, reads are answered."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from sidecar.budget.commands import Command, LapseLeases
from sidecar.budget.decide import Defaults
from sidecar.budget.errors import BudgetError, NotFound
from sidecar.budget.profile import Profile
from sidecar.budget.replies import SessionSummary
from sidecar.budget.report import summary
from sidecar.budget.session import Session
from sidecar.journal import ArchiveRecord, Damaged, Journal, JournalError, SessionId, StoredEntry
from sidecar.journal.freezing import thaw
from sidecar.ledger.ages import Ages
from sidecar.ledger.contract import Ask, Limits, Origin, Overloaded, Reply, SessionView, Sink
from sidecar.ledger.moved import Moved
from sidecar.ledger.profiles import Profiles
from sidecar.ledger.residents import Residents
from sidecar.ledger.retention import Keep, Retention
from sidecar.ledger.silence import OWN, Silence
from sidecar.ledger.snapshots import Snapshots
from sidecar.ledger.writer import Writer


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
        limits = limits or Limits()
        self._clock = clock
        self._residents = Residents(
            journal, closed=limits.closed_in_memory, parts=limits.closed_parts_in_memory, dropped=on_dropped
        )
        self._snapshots = Snapshots(
            journal,
            self._residents,
            every=limits.snapshot_every,
            settled=self.settled,
            durable=lambda: self.journal_up,
        )
        self._keep = keep or Keep()
        defaults = defaults or Defaults()
        self._profiles = Profiles(journal, defaults.profiles)
        self._writer = Writer(
            journal,
            self._residents,
            defaults=defaults,
            profiles=self._profiles,
            sinks=sinks,
            limits=limits,
            clock=clock,
            stopwatch=stopwatch,
            on_append=on_append,
            on_grown=self._snapshots.grown,
            on_dropped=on_dropped,
        )
        self._moved = Moved(journal, self._residents, self._writer, on_moved=on_moved)
        ages = Ages(clock, steady)
        self._silence = Silence(
            self._residents,
            self._moved,
            self._snapshots,
            Retention(journal, self._residents, self._keep, dropped=on_dropped, clock=ages.now),
            limits=limits,
            sinks=sinks,
            ages=ages,
            clock=clock,
            settled=self.settled,
            handle_all=self.handle_all,
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
        background = self._snapshots.run(), *self._silence.watching(forget_every=self._keep.every)
        self._background = [asyncio.create_task(each) for each in background]

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
            await self._moved.look_at(found)
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

    async def existing(self, sessions: Collection[SessionId]) -> Sequence[SessionId]:
        """Those of the sessions that there are, the journal being asked once for all that are not in memory.

        To `view` one that does not exist takes several calls of the journal. Raises `JournalError`.
        """
        await self.settled()
        unknown = [id for id in sessions if self._residents.get(id) is None]
        written = await self._journal.heads(unknown) if unknown else {}
        await self.settled()
        return [id for id in sessions if id in written or self._residents.get(id) is not None]

    def _leases_ran_out(self, session: Session) -> bool:
        """Whether leases lapse by the server's time: in a session that has none of its host's."""
        due = session.next_lapse
        return due is not None and not session.host_clock and not session.closed and due <= self._clock()

    async def sessions(self, *, after: SessionId | None = None, limit: int = 100) -> list[SessionSummary]:
        """Sessions in order of id, after the id `after`; those that are damaged, or just forgotten, are left out.

        Raises `JournalError`.
        """
        summaries: list[SessionSummary] = []
        while ids := await self._journal.sessions(after=after, limit=limit - len(summaries)):
            for id in ids:
                with contextlib.suppress(Damaged, NotFound):
                    view = await self.view(id)
                    summaries.append(summary(view.session, idle=view.idle))
            if len(summaries) == limit:
                break
            after = ids[-1]
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

    async def forget(self) -> None:
        """Forget what is too old or too much, now. Raises `JournalError`."""
        await self._silence.forget()

    async def expire(self) -> None:
        """Look for sessions that have become idle or are to be closed, now. Raises `JournalError`, `Overloaded`."""
        await self._silence.expire()
