"""Deciding the commands of a turn, each on its session as the turn has left it so far. Nothing here is durable yet."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from sidecar.budget.commands import (
    CloseSession,
    Command,
    CompleteTask,
    EraseArchive,
    ExpireSession,
    OpenSession,
    PutItem,
    RequestAllocation,
    RestoreItem,
    SyncWindow,
)
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.errors import BudgetError, Conflict
from sidecar.budget.session import Session
from sidecar.journal import ArchiveRecord, Journal, JournalError, SessionId, StoreAway
from sidecar.ledger.contention import Contention
from sidecar.ledger.contract import Ask, Limits, Overloaded
from sidecar.ledger.profiles import Profiles
from sidecar.ledger.queue import Queue
from sidecar.ledger.residents import Residents
from sidecar.ledger.turn import Turn, Waiting

_log = logging.getLogger(__name__)

_OF_THE_ARCHIVE = (RestoreItem, EraseArchive)  # a union written where it is used would be made for each command
_BRINGS_ITEMS = (PutItem, RequestAllocation, SyncWindow)
_BRINGING = frozenset(each.type for each in _BRINGS_ITEMS)
_TEACHING = frozenset({CompleteTask.type, CloseSession.type, ExpireSession.type})  # something of their agent
# Commands that take more than the session: something to be read first, or a thread.
_TAKES_MORE = frozenset({RestoreItem.type, EraseArchive.type, SyncWindow.type, ExpireSession.type})
_LARGE_WINDOW = 500  # items, whose difference takes so long that the event loop is better left free meanwhile
_HEAVY = 0.0005  # seconds to decide: after such a command another session has its turn


class Decider:
    """Decides; what is not in memory, or contested, it reads."""

    def __init__(
        self,
        journal: Journal,
        residents: Residents,
        contested: Contention,
        *,
        defaults: Defaults,
        profiles: Profiles,
        limits: Limits,
        stopwatch: Callable[[], float],
        on_dropped: Callable[[str, str, int], None],
    ) -> None:
        self._journal = journal
        self._shared = journal.shared
        self._residents = residents
        self._contested = contested
        self._defaults = replace(defaults, profiles=profiles.known)
        self._profiles = profiles
        self._limits = limits
        self._stopwatch = stopwatch
        self._on_dropped = on_dropped

    async def decide_waiting(self, queue: Queue, turn: Turn) -> None:
        """Take commands from the queue and decide them, until the turn is full. Raises `StoreAway`."""
        spent = 0.0  # deciding: while something is read, others have the loop
        most, patience = self._limits.turn_commands, self._limits.turn_seconds
        while queue and len(turn.decided) < most and spent <= patience:
            row = queue.take(most - len(turn.decided))
            turn.taken += row
            id = row[0].ask.session
            for count, waiting in enumerate(row, 1):
                command = waiting.ask.command
                # Mostly nothing has to be awaited: this runs for each command, and a coroutine has its price.
                session = None if command.type in _TAKES_MORE else self._at_hand(turn, id)
                if session is not None:
                    seconds = self._decide_at_once(turn, waiting, session)
                elif id in turn.changes and _archived_item(command) is not None:
                    _leave(queue, turn, row[count - 1 :])
                    return  # the record it speaks of may be among what this turn has still to store
                else:
                    seconds = await self._decide(turn, waiting, queue.sessions)
                spent += seconds
                if seconds > _HEAVY or spent > patience:
                    _leave(queue, turn, row[count:])
                    if seconds > _HEAVY:
                        queue.pass_on(id)
                    break

    def _at_hand(self, turn: Turn, id: SessionId) -> Session | None:
        """The session, if deciding on it takes no reading."""
        if self._shared or self._contested:
            return None
        session = turn.sessions.get(id)
        if session is None and id not in turn.sessions:
            session = self._residents.get(id)
            if session is not None:
                turn.sessions[id] = session
        return session

    def _decide_at_once(self, turn: Turn, waiting: Waiting, session: Session) -> float:
        """Decide one command on its session; the seconds that it took."""
        ask = waiting.ask
        version = session.version
        try:
            if session.closed or ask.command.type in _BRINGING:
                self._check_room(turn, ask, session)
            begun = self._stopwatch()
            decision = self._call(turn, ask, session)
            seconds = self._stopwatch() - begun
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this caller alone
            return self._failed(turn, waiting, session, version, error)
        return self._decided(turn, waiting, decision, seconds)

    async def _decide(self, turn: Turn, waiting: Waiting, others: Collection[SessionId]) -> float:
        """Decide one command; the seconds that it took. `others`: the sessions that are next."""
        ask = waiting.ask
        session, version = None, 0
        try:
            self._check_expiry(turn, ask)
            # Mostly nothing has to be read, and then nothing is awaited: this runs for each command.
            if ask.session not in turn.sessions:
                held = None if ask.session in self._contested else self._residents.get(ask.session)
                turn.sessions[ask.session] = held or await self._read(turn, ask.session, others)
            session = turn.sessions[ask.session]
            if session is not None:
                version = session.version
            self._check_room(turn, ask, session)
            item = _archived_item(ask.command)
            archived = None if item is None else await self._journal.archive_record(ask.session, item)
            if self._journal.shared:
                await self._profiles.before(ask.command, session, agent=self._defaults.agent)
            begun = self._stopwatch()
            deciding = partial(self._call, turn, ask, session, archived)
            # In a thread it is still the turn's only decision: nobody looks at a session before the turn has ended.
            decision = await asyncio.to_thread(deciding) if _is_large(ask.command) else deciding()
            seconds = self._stopwatch() - begun
        except StoreAway:  # it concerns all: to wait for it once is enough
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(turn, waiting, session, version, error)
        return self._decided(turn, waiting, decision, seconds)

    def _call(self, turn: Turn, ask: Ask, session: Session | None, archived: ArchiveRecord | None = None) -> Decision:
        return decide(
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

    def _decided(self, turn: Turn, waiting: Waiting, decision: Decision, seconds: float) -> float:
        if decision.contents:
            self._bound_contents(decision)
        if waiting.ask.command.type in _TEACHING:
            self._profiles.expect(decision, at=turn.now)
        turn.add(waiting, decision, seconds - decision.cleaning)
        return seconds

    def _failed(self, turn: Turn, waiting: Waiting, session: Session | None, version: int, error: Exception) -> float:
        """Only its caller is told of an error; what it has left behind is read again."""
        ask = waiting.ask
        if not isinstance(error, BudgetError | JournalError | Overloaded):
            _log.error("command %s of session %r failed", ask.command.type, ask.session, exc_info=error)
        if session is not None and session.version != version:
            # Half applied: the journal, and what this turn has to add to it, are the truth.
            del turn.sessions[ask.session]
            self._residents.suspect([ask.session], now=turn.now)
        turn.refuse(waiting, error)
        return 0.0

    def _bound_contents(self, decision: Decision) -> None:
        """Items may be described at any length; what is kept of their content is bounded."""
        limit = self._limits.content_bytes
        long = [v for v, text in decision.contents.items() if len(text) * 4 > limit and len(text.encode()) > limit]
        for version in long:
            del decision.contents[version]
        if long:
            self._on_dropped("content", "size", len(long))

    async def _read(self, turn: Turn, id: SessionId, others: Collection[SessionId]) -> Session | None:
        """A session that is contested, or not in memory, as this turn has left it so far."""
        change = turn.changes.get(id)
        if change is not None:
            return await self._residents.fold(id, then=change.entries)
        copy = await self._residents.copy(id)
        if copy is not None:
            return copy
        if id not in turn.written:
            await self._look_up(turn, [id, *others])
        return await self._residents.fold(id) if turn.written[id] else None

    async def _look_up(self, turn: Turn, ids: Collection[SessionId]) -> None:
        """Ask at once which of the sessions that are not in memory have been written to: mostly they are all new."""
        unknown = [id for id in islice(ids, self._limits.turn_commands) if self._residents.get(id) is None]
        heads = await self._journal.heads(unknown)
        turn.written.update({id: id in heads for id in unknown})

    def _check_room(self, turn: Turn, ask: Ask, session: Session | None) -> None:
        if (session is None or session.closed) and (ask.auto_open or isinstance(ask.command, OpenSession)):
            opening = sum(self._residents.get(id) is None for id in turn.changes)
            if self._residents.open + opening >= self._limits.open_sessions:
                raise Overloaded(f"{self._limits.open_sessions} sessions are open, which is the limit", retry_after=60)
        if isinstance(ask.command, _BRINGS_ITEMS):
            self._check_items(ask.command, session)

    def _check_items(self, command: PutItem | RequestAllocation | SyncWindow, session: Session | None) -> None:
        if isinstance(command, SyncWindow):
            over = len(command.items) > self._limits.items
        elif command.item is None or session is None or session.placed < self._limits.items:
            return  # it never held so many
        else:
            held = sum([len(component.items) for component in session.components.values()])
            over = held >= self._limits.items and session.find(command.item.id) is None
        if over:
            raise Conflict(f"a session holds at most {self._limits.items:,} items (the setting max_items)")

    def _check_expiry(self, turn: Turn, ask: Ask) -> None:
        """Do not close for silence a session that was heard of while its closing waited for its turn."""
        if isinstance(ask.command, ExpireSession):
            seen = self._residents.seen(ask.session)
            if ask.session in turn.sessions or seen is None or seen >= turn.now - self._limits.close_after:
                raise Conflict(f"session {ask.session!r} was heard of meanwhile")


def _leave(queue: Queue, turn: Turn, rest: Sequence[Waiting]) -> None:
    """The turn ends before these, which are next of their session again."""
    if rest:
        del turn.taken[-len(rest) :]
        queue.put_back(rest)


def _is_large(command: Command) -> bool:
    return isinstance(command, SyncWindow) and len(command.items) > _LARGE_WINDOW


def _archived_item(command: Command) -> str | None:
    """The archived item that a command cannot be decided without."""
    return command.item if isinstance(command, _OF_THE_ARCHIVE) else None
