"""The writer: a single long-lived task that takes turns.

A failed append may have happened or not. Nothing is undone in memory: the sessions of the turn are read again from the
journal, and until the journal takes writes again, commands are refused before they are decided.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence

from sidecar.budget.commands import (
    ChangeSession,
    CloseSession,
    Command,
    EraseArchive,
    ExpireSession,
    LapseLeases,
    OpenSession,
    RestoreItem,
)
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.errors import BudgetError, Conflict
from sidecar.budget.session import Session
from sidecar.journal import Journal, JournalError, Outcome, SessionId
from sidecar.ledger.contention import Contention
from sidecar.ledger.contract import Ask, Limits, Overloaded, Record, Reply, Sink
from sidecar.ledger.residents import Residents
from sidecar.ledger.turn import Batch, Turn, Waiting

_log = logging.getLogger(__name__)

_OF_THE_ARCHIVE = (RestoreItem, EraseArchive)  # a union written where it is used would be made for each command

# Whoever asks for these counts on them: they are never decided in memory alone.
_LASTING = ChangeSession, CloseSession, EraseArchive, ExpireSession, LapseLeases, RestoreItem

_TRIES = 30  # how often a command is decided because another writer was first
_HEAL_FIRST, _HEAL_LAST = 0.05, 5.0  # seconds between attempts to write to a journal that is down


class Writer:
    """Takes commands in batches, decides them in turns, and is the only one to change the residents.

    `clock` is the server's time in epoch seconds, `stopwatch` measures. `on_append` is told of every append: seconds,
    entries, whether it succeeded; `on_grown` of every session that has got entries; `on_dropped` of what is lost on
    purpose: what, why, how many.
    """

    def __init__(  # noqa: PLR0913 - each is named where it is wired
        self,
        journal: Journal,
        residents: Residents,
        *,
        defaults: Defaults,
        sinks: Sequence[Sink],
        limits: Limits,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
        on_append: Callable[[float, int, bool], None] | None,
        on_grown: Callable[[Session], None],
        on_dropped: Callable[[str, str, int], None],
    ) -> None:
        self._journal = journal
        self._residents = residents
        self._defaults = defaults
        self._sinks = sinks
        self._limits = limits
        self._clock = clock
        self._stopwatch = stopwatch
        self._on_append = on_append
        self._on_grown = on_grown
        self._on_dropped = on_dropped
        self._astray: dict[SessionId, None] = {}  # sessions with entries in memory that the journal does not have
        self._contested = Contention()
        self.conflicts = 0  # how often a session's part of a turn was decided in vain: another writer was first
        self._queue: deque[Waiting] = deque()
        self._woken = asyncio.Event()
        self._between_turns = asyncio.Event()
        self._between_turns.set()
        self._down: JournalError | None = None
        self._stopping = False
        self._working: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take turns."""
        self._working = asyncio.create_task(self._work())

    async def stop(self, patience: float) -> None:
        """Take no more commands, finish those that wait, but no longer than `patience` seconds."""
        self._stopping = True
        self._woken.set()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=patience)
        tasks = [task for task in (self._working, self._healing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._refuse_waiting(JournalError("the sidecar is stopping"))

    @property
    def journal_up(self) -> bool:
        """Whether the journal is open and took the last write."""
        return self._working is not None and self._down is None

    async def settled(self) -> None:
        """Wait until no turn is under way."""
        while not self._between_turns.is_set():
            await self._between_turns.wait()

    def submit(self, asks: Sequence[Ask]) -> Batch:
        """Queue commands that came together. Raises `JournalError` or `Overloaded` where none of them is taken."""
        if self._stopping:
            raise JournalError("the sidecar is stopping")
        if self._working is None:
            raise JournalError("the journal has not been opened yet")
        if self._down is not None and not all(self._goes_on(ask) for ask in asks):
            raise JournalError(f"the journal takes no writes: {self._down}")
        if self._queue and len(self._queue) + len(asks) > self._limits.waiting_commands:
            raise Overloaded(f"{len(self._queue)} commands wait already")
        batch = Batch(len(asks))
        self._queue.extend(Waiting(ask, batch, place) for place, ask in enumerate(asks))
        self._woken.set()
        return batch

    def _goes_on(self, ask: Ask) -> bool:
        """Whether it is decided in memory alone while the journal is down: of an observed session, and if so told."""
        session = self._residents.get(ask.session) if self._limits.observe_without_journal else None
        watched = session is not None and session.mode == "observed" and not session.closed
        return watched and not isinstance(ask.command, _LASTING)

    # --- turns ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._queue or not self._stopping:
            if not self._queue:
                self._woken.clear()
                await self._woken.wait()
                continue
            await self._gather()
            if self._contested:
                await self._contested.give_way((waiting.ask.session for waiting in self._queue), self._clock())
            turn = Turn(now=self._clock())
            self._between_turns.clear()
            try:
                await self._decide_waiting(turn)
                await self._store(turn)
                with contextlib.suppress(JournalError):
                    await self._residents.reread()
            except Exception as error:  # noqa: BLE001 - a fault must not end the only writer
                _log.exception("a turn of the ledger broke off")
                self._residents.suspect(turn.sessions, now=turn.now)
                turn.fail(error)
            except asyncio.CancelledError:
                turn.fail(JournalError("the sidecar is stopping"))
                raise
            finally:
                self._between_turns.set()

    async def _gather(self) -> None:
        """Wait while each round of the event loop brings more commands: they all share one commit."""
        waiting = 0
        while waiting < len(self._queue) < self._limits.turn_commands:
            waiting = len(self._queue)
            await asyncio.sleep(0)

    async def _decide_waiting(self, turn: Turn) -> None:
        spent = 0.0  # deciding: while something is read, others have the loop
        while self._queue and len(turn.decided) < self._limits.turn_commands:
            ask = self._queue[0].ask
            if _archived_item(ask.command) is not None and ask.session in turn.changes:
                return  # the record it speaks of may be among what this turn has still to store
            turn.taken.append(self._queue.popleft())
            spent += await self._decide(turn, turn.taken[-1])
            if spent > self._limits.turn_seconds:
                return

    async def _decide(self, turn: Turn, waiting: Waiting) -> float:
        """Decide one command; the seconds that it took."""
        ask = waiting.ask
        session, version = None, 0
        try:
            self._check_expiry(turn, ask)
            # Mostly nothing has to be read, and then nothing is awaited: this runs for each command.
            if ask.session not in turn.sessions:
                held = None if ask.session in self._contested else self._residents.get(ask.session)
                turn.sessions[ask.session] = held or await self._read(turn, ask.session)
            session = turn.sessions[ask.session]
            if session is not None:
                version = session.version
            self._check_room(turn, ask, session)
            item = _archived_item(ask.command)
            archived = None if item is None else await self._journal.archive_record(ask.session, item)
            begun = self._stopwatch()
            decision = decide(
                session,
                ask.command,
                id=ask.session,
                now=turn.now,
                defaults=self._defaults,
                auto_open=ask.auto_open,
                answered=ask.answered,
                archived=archived,
                stopwatch=self._stopwatch,
            )
            seconds = self._stopwatch() - begun
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this caller alone
            if not isinstance(error, BudgetError | JournalError | Overloaded):
                _log.exception("command %s of session %r failed", ask.command.type, ask.session)
            if session is not None and session.version != version:
                # Half applied: the journal, and what this turn has to add to it, are the truth.
                del turn.sessions[ask.session]
                self._residents.suspect([ask.session], now=turn.now)
            turn.refuse(waiting, error)
            return 0.0
        if decision.contents:
            self._bound_contents(decision)
        turn.add(waiting, decision, seconds - sum([run.duration for run in decision.runs]))
        return seconds

    def _bound_contents(self, decision: Decision) -> None:
        """Items may be described at any length; what is kept of their content is bounded."""
        limit = self._limits.content_bytes
        long = [v for v, text in decision.contents.items() if len(text) * 4 > limit and len(text.encode()) > limit]
        for version in long:
            del decision.contents[version]
        if long:
            self._on_dropped("content", "size", len(long))

    async def _read(self, turn: Turn, id: SessionId) -> Session | None:
        """A session that is contested, or not in memory, as this turn has left it so far."""
        change = turn.changes.get(id)
        if change is None and (copy := await self._residents.copy(id)) is not None:
            return copy
        return await self._residents.fold(id, then=change.entries if change is not None else ())

    def _check_room(self, turn: Turn, ask: Ask, session: Session | None) -> None:
        opens = isinstance(ask.command, OpenSession) or ask.auto_open
        if opens and (session is None or session.closed):
            opening = sum(self._residents.get(id) is None for id in turn.changes)
            if self._residents.open + opening >= self._limits.open_sessions:
                raise Overloaded(f"{self._limits.open_sessions} sessions are open, which is the limit", retry_after=60)

    def _check_expiry(self, turn: Turn, ask: Ask) -> None:
        """Do not close for silence a session that was heard of while its closing waited for its turn."""
        if isinstance(ask.command, ExpireSession):
            seen = self._residents.seen(ask.session)
            if ask.session in turn.sessions or seen is None or seen >= turn.now - self._limits.close_after:
                raise Conflict(f"session {ask.session!r} was heard of meanwhile")

    async def _store(self, turn: Turn) -> None:
        """Append what was decided, in one go; then publish and answer."""
        outcomes: dict[SessionId, Outcome | Exception] = {}
        if self._down is not None:
            self._answer_in_memory(turn)
            return
        if turn.changes:
            frames = turn.frames()
            begun = self._stopwatch()
            try:
                stored = await self._journal.append(frames)
                outcomes.update(zip(turn.changes, stored, strict=True))
            except Exception as error:  # noqa: BLE001 - whatever it is, these entries are not durable
                if isinstance(error, JournalError):
                    self._go_down(error)
                else:
                    _log.exception("the journal could not be given a turn's entries")
                outcomes.update(dict.fromkeys(turn.changes, error))
            if self._on_append is not None:
                failed = any(isinstance(outcome, Exception) for outcome in outcomes.values())
                self._on_append(self._stopwatch() - begun, turn.entries(), not failed)
        if self._journal.shared:
            await self._look_at_unchanged(turn, outcomes)
        # What was decided on a copy leaves what is in memory as it was; all other sessions are to be read again.
        moved = [
            id
            for id, outcome in outcomes.items()
            if outcome != "stored" and not (outcome == "conflict" and id in self._contested)
        ]
        self._residents.suspect(moved, now=turn.now)
        for id, outcome in outcomes.items():
            if outcome == "conflict":
                self._contested.conflict(id, turn.now)
        self._answer(turn, outcomes)

    async def _look_at_unchanged(self, turn: Turn, outcomes: dict[SessionId, Outcome | Exception]) -> None:
        """What was decided without an entry stands only if the session has not moved on elsewhere."""
        unchanged = [id for id in turn.sessions if id not in outcomes]
        if not unchanged:
            return
        try:
            heads = await self._journal.heads(unchanged)
        except JournalError as error:
            self._go_down(error)
            outcomes.update(dict.fromkeys(unchanged, error))
            return
        for id in unchanged:
            session = turn.sessions[id]
            if (heads[id].version if id in heads else 0) != (0 if session is None else session.version):
                outcomes[id] = "conflict"

    def _answer(self, turn: Turn, outcomes: dict[SessionId, Outcome | Exception]) -> None:
        again: list[Waiting] = []
        placed: set[SessionId] = set()
        self.conflicts += sum(outcome == "conflict" for outcome in outcomes.values())
        for decided in turn.decided:
            waiting, decision = decided.waiting, decided.outcome
            id = waiting.ask.session
            outcome = outcomes.get(id, "stored")
            if isinstance(outcome, Exception):
                waiting.answer(type(outcome)(*outcome.args))
            elif outcome == "conflict":
                waiting.tries += 1
                if waiting.tries < _TRIES:
                    again.append(waiting)
                else:
                    waiting.answer(JournalError(f"others keep writing to session {id!r}"))
            elif isinstance(decision, Exception):
                waiting.answer(decision)
            else:
                session = turn.sessions.get(id) or decision.session
                if id in turn.sessions and id not in placed:
                    self._residents.place(session, seen=self._heard(id, waiting.ask.command, turn.now))
                    placed.add(id)
                    if id in turn.changes and id not in self._astray:
                        self._on_grown(session)
                self._publish(decided.record(decision, session, turn.now))
                waiting.answer(Reply(decision.reply, decision.created, decision.duplicate))
        self._queue.extendleft(reversed(again))

    def _answer_in_memory(self, turn: Turn) -> None:
        """The journal is down, and these sessions are observed: what they write is lost, and counted."""
        self._on_dropped("entry", "journal_down", turn.entries())
        self._astray.update(dict.fromkeys(turn.changes))
        self._answer(turn, {})

    def _heard(self, id: SessionId, command: Command, now: float) -> float:
        """When the session was last heard of; to look at it is not to hear of it."""
        seen = self._residents.seen(id) if isinstance(command, LapseLeases) else None
        return now if seen is None else seen

    def _publish(self, record: Record) -> None:
        for sink in self._sinks:
            try:
                sink.publish(record)
            except Exception:  # noqa: BLE001 - what is durable is answered, whoever cannot show it
                _log.exception("a sink could not take a record")

    # --- failure ----------------------------------------------------------------------------------------------------

    def _go_down(self, error: JournalError) -> None:
        """Refuse what waits and what comes, until the journal takes writes again."""
        _log.error("the journal takes no writes: %s", error)
        self._down = error
        self._healing = asyncio.create_task(self._heal())
        self._refuse_waiting(error)

    def _refuse_waiting(self, error: JournalError) -> None:
        waiting, self._queue = self._queue, deque()
        for each in waiting:
            if self._goes_on(each.ask):
                self._queue.append(each)
            else:
                each.answer(JournalError(*error.args))

    async def _heal(self) -> None:
        pause = _HEAL_FIRST
        while self._down is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _HEAL_LAST)
            with contextlib.suppress(JournalError):
                await self._journal.check()
                await self.settled()
                self._residents.suspect(self._astray, now=self._clock())
                self._astray.clear()
                await self._residents.reread()
                if not self._astray:  # none has gone on meanwhile
                    self._down = None
        _log.info("the journal takes writes again")


def _archived_item(command: Command) -> str | None:
    """The archived item that a command cannot be decided without."""
    return command.item if isinstance(command, _OF_THE_ARCHIVE) else None
