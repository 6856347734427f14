"""The writer: a single long-lived task that takes turns.

A failed append may have happened or not. Nothing is undone in memory: the sessions of the turn are read again from the
journal, and until the journal takes writes again, commands are refused before they are decided.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from sidecar.budget.commands import Command, LapseLeases
from sidecar.budget.decide import Defaults
from sidecar.budget.session import Session
from sidecar.journal import Journal, JournalError, Outcome, SessionId, StoreAway
from sidecar.ledger.contention import Contention
from sidecar.ledger.contract import Ask, Limits, Reply, Sink
from sidecar.ledger.deciding import Decider
from sidecar.ledger.outage import Outage
from sidecar.ledger.profiles import Profiles
from sidecar.ledger.queue import Queue
from sidecar.ledger.residents import Residents
from sidecar.ledger.turn import Batch, Turn, Waiting

_log = logging.getLogger(__name__)

_TRIES = 30  # how often a command is decided because another writer was first


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
        profiles: Profiles,
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
        self._profiles = profiles
        self._sinks = sinks
        self._limits = limits
        self._clock = clock
        self._stopwatch = stopwatch
        self._on_append = on_append
        self._on_grown = on_grown
        self._on_dropped = on_dropped
        self._queue = Queue(limits.waiting_commands, limits.waiting_seconds, agent_of=self._agent_of)
        self._outage = Outage(
            journal, residents, observe=limits.observe_without_journal, settled=self.settled, clock=clock
        )
        self._contested = Contention()
        self._decider = Decider(
            journal,
            residents,
            self._contested,
            defaults=defaults,
            profiles=profiles,
            limits=limits,
            stopwatch=stopwatch,
            on_dropped=on_dropped,
        )
        self.conflicts = 0  # how often a session's part of a turn was decided in vain: another writer was first
        self._between_turns = asyncio.Event()
        self._between_turns.set()
        self._stopping = False
        self._working: asyncio.Task[None] | None = None
        self.unopened: JournalError | None = None  # why the journal could not be opened, when that was last tried

    def start(self) -> None:
        """Begin to take turns."""
        self._working = asyncio.create_task(self._work())

    async def stop(self, patience: float) -> None:
        """Take no more commands, finish those that wait, but no longer than `patience` seconds."""
        self._stopping = True
        self._queue.wake()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=patience)
        tasks = [*self._outage.tasks(), *([] if self._working is None else [self._working])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queue.refuse(JournalError("the sidecar is stopping"))

    @property
    def journal_up(self) -> bool:
        """Whether the journal is open and took the last write."""
        return self._working is not None and self._outage.error is None

    def is_astray(self, session: SessionId) -> bool:
        """Whether memory has entries of the session that the journal does not have, because it is down."""
        return self._outage.is_astray(session)

    async def settled(self) -> None:
        """Wait until no turn is under way."""
        while not self._between_turns.is_set():
            await self._between_turns.wait()

    def submit(self, asks: Sequence[Ask]) -> Batch:
        """Queue commands that came together. Raises `JournalError` or `Overloaded` where none of them is taken."""
        if self._stopping:
            raise JournalError("the sidecar is stopping")
        if self._working is None:
            raise JournalError(str(self.unopened or "the journal has not been opened yet"))
        if self._outage.error is not None and not all(self._outage.goes_on(ask) for ask in asks):
            raise JournalError(f"the journal takes no writes: {self._outage.error}")
        return self._queue.add(asks)

    # --- turns ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._queue or not self._stopping:
            if not self._queue:
                await self._queue.filled()
                continue
            begun = self._stopwatch()
            await self._queue.gathered(self._limits.turn_commands)
            if self._contested:
                await self._contested.give_way((waiting.ask.session for waiting in self._queue), self._clock())
            if self._outage.error is not None:  # what another writer was first to write to has come back to the queue
                self._queue.refuse(self._outage.error, unless=self._outage.goes_on)
            turn = Turn(now=self._clock())
            self._between_turns.clear()
            try:
                await self._decider.decide_waiting(self._queue, turn)
                await self._store(turn)
            except StoreAway as error:
                self._residents.suspect(turn.sessions, now=turn.now)
                turn.fail(error)
                self._go_down(error)
            except Exception as error:  # noqa: BLE001 - a fault must not end the only writer
                _log.exception("a turn of the ledger broke off")
                self._residents.suspect(turn.sessions, now=turn.now)
                turn.fail(error)
            except asyncio.CancelledError:
                turn.fail(JournalError("the sidecar is stopping"))
                raise
            finally:
                self._between_turns.set()
            if self._queue and turn.decided:
                self._queue.served(len(turn.decided), self._stopwatch() - begun)
            # Where the journal hangs this takes as long as it takes; meanwhile all other sessions are there to be read.
            if self._residents.suspects:
                with contextlib.suppress(StoreAway):
                    await self._residents.reread()

    def _agent_of(self, id: SessionId) -> str:
        session = self._residents.get(id)
        return "" if session is None else session.agent

    async def _store(self, turn: Turn) -> None:
        """Append what was decided, in one go; then publish and answer."""
        outcomes: dict[SessionId, Outcome | Exception] = {}
        if self._outage.error is not None:
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
                lost = any(isinstance(outcome, Exception) for outcome in outcomes.values())
                self._on_append(self._stopwatch() - begun, turn.entries(), not lost)
            await self._profiles.settle()
        if self._journal.shared:
            await self._look_at_unchanged(turn, outcomes)
        failed = {id: outcome for id, outcome in outcomes.items() if outcome != "stored"}
        if failed:
            self._give_up(turn, failed)
        self._answer(turn, failed)

    def _give_up(self, turn: Turn, failed: Mapping[SessionId, Outcome | Exception]) -> None:
        """Of these sessions nothing was stored: what memory says of them is not to be believed."""
        # What was decided on a copy leaves what is in memory as it was; all other sessions are to be read again.
        moved = [id for id, outcome in failed.items() if not (outcome == "conflict" and id in self._contested)]
        self._residents.suspect(moved, now=turn.now)
        for id, outcome in failed.items():
            if outcome == "conflict":
                self.conflicts += 1
                self._contested.conflict(id, turn.now)

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

    def _answer(self, turn: Turn, failed: Mapping[SessionId, Outcome | Exception]) -> None:
        """Publish and answer. `failed`: the sessions of which nothing was stored, and why."""
        again: list[Waiting] = []
        placed: set[SessionId] = set()
        for decided in turn.decided:
            waiting, decision = decided.waiting, decided.outcome
            id = waiting.ask.session
            if id in failed:
                if self._fail(waiting, failed[id]):
                    again.append(waiting)
            elif isinstance(decision, Exception):
                waiting.answer(decision)
            else:
                session = turn.sessions.get(id) or decision.session
                if id not in placed and id in turn.sessions:
                    self._residents.place(session, seen=self._heard(id, waiting.ask.command, turn.now))
                    placed.add(id)
                    if id in turn.changes and not self._outage.is_astray(id):
                        self._on_grown(session)
                record = decided.record(decision, session, turn.now)
                for sink in self._sinks:
                    try:
                        sink.publish(record)
                    except Exception:  # noqa: BLE001 - what is durable is answered, whoever cannot show it
                        _log.exception("a sink could not take a record")
                waiting.answer(Reply(decision.reply, decision.created, decision.duplicate))
        self._queue.put_back(again)

    def _fail(self, waiting: Waiting, outcome: Outcome | Exception) -> bool:
        """What was decided is not stored: whether it is to be decided again."""
        if isinstance(outcome, Exception):
            waiting.answer(type(outcome)(*outcome.args))
            return False
        waiting.tries += 1
        if waiting.tries >= _TRIES:
            waiting.answer(JournalError(f"others keep writing to session {waiting.ask.session!r}"))
        return waiting.tries < _TRIES

    def _answer_in_memory(self, turn: Turn) -> None:
        """The journal is down, and these sessions are observed: what they write is lost, and counted."""
        self._on_dropped("entry", "journal_down", turn.entries())
        self._outage.lead_astray(turn.changes)
        self._answer(turn, {})

    def _heard(self, id: SessionId, command: Command, now: float) -> float:
        """When the session was last heard of; to look at it is not to hear of it."""
        seen = self._residents.seen(id) if isinstance(command, LapseLeases) else None
        return now if seen is None else seen

    def _go_down(self, error: JournalError) -> None:
        """Refuse what waits and what comes, until the journal takes writes again."""
        self._outage.begin(error)
        self._queue.refuse(error, unless=self._outage.goes_on)
