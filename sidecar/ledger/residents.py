"""The sessions in memory, since when nothing was heard of them, and how they come back from the journal.

Each list is kept in the order in which sessions were last heard of, so that looking for idle ones looks at the front
alone, however many sessions there are.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from sidecar.budget.entries import AnyEntry
from sidecar.budget.evolve import evolve
from sidecar.budget.session import Session
from sidecar.journal import Damaged, Head, Journal, SessionId, StoreAway
from sidecar.journal.freezing import freeze, thaw
from sidecar.ledger.history import History, Past

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Resident:
    """A session, and the server time at which it was last heard of."""

    session: Session
    seen: float


class Residents:
    """Every open session, active or idle, and the closed ones that were used last."""

    def __init__(self, journal: Journal, *, closed: int, parts: int, dropped: Callable[[str, str, int], None]) -> None:
        """`closed`: of closed sessions at most so many are kept, with at most so many `parts` together.

        `dropped` is told of each session that had to be left out: what, why, how many.
        """
        self._dropped = dropped
        self._history = History(journal)
        self._suspects: dict[SessionId, float] = {}  # to be read again; when they were last heard of
        self._unreadable: dict[SessionId, float] = {}  # suspects that could not be
        self._active: dict[SessionId, Resident] = {}
        self._idle: dict[SessionId, Resident] = {}
        self._closed: dict[SessionId, Resident] = {}
        self._closed_at_most = closed
        self._parts: dict[SessionId, int] = {}  # of each closed session, and of all of them together
        self._all_parts = 0
        self._parts_at_most = parts

    @property
    def open(self) -> int:
        """How many sessions are open."""
        return len(self._active) + len(self._idle)

    def active(self) -> Collection[Session]:
        """The sessions that are neither idle nor closed."""
        return [resident.session for resident in self._active.values()]

    def all(self) -> Collection[Session]:
        """Every session in memory."""
        return [resident.session for each in (self._active, self._idle, self._closed) for resident in each.values()]

    def get(self, id: SessionId) -> Session | None:
        """The session, if it is in memory."""
        resident = self._find(id)
        return None if resident is None else resident.session

    def seen(self, id: SessionId) -> float | None:
        """When the session was last heard of, if it is in memory."""
        resident = self._find(id)
        return None if resident is None else resident.seen

    def is_idle(self, id: SessionId) -> bool:
        """Whether the session is open and idle."""
        return id in self._idle

    def place(self, session: Session, *, seen: float) -> None:
        """The session was heard of now, and is as it is."""
        self.drop(session.id)
        self._suspects.pop(session.id, None)
        self._unreadable.pop(session.id, None)
        if not session.closed:
            self._active[session.id] = Resident(session, seen)
            return
        self._closed[session.id] = Resident(session, seen)
        self._parts[session.id] = _parts(session)
        self._all_parts += self._parts[session.id]
        while len(self._closed) > self._closed_at_most or (self._closed and self._all_parts > self._parts_at_most):
            self.drop(next(iter(self._closed)))

    def drop(self, id: SessionId) -> Resident | None:
        """Forget the session; the journal has it."""
        self._all_parts -= self._parts.pop(id, 0)
        return self._active.pop(id, None) or self._idle.pop(id, None) or self._closed.pop(id, None)

    def count_from(self, now: float) -> None:
        """Where the clock was set back, count from now: what was heard of in its future would hide all others."""
        for residents in (self._active, self._idle):
            for resident in residents.values():
                if resident.seen <= now:
                    break
                resident.seen = now

    def age_less(self, leap: float, now: float) -> None:
        """Where the clock was set forward, nobody was silent for that much longer."""
        for residents in (self._active, self._idle):
            for resident in residents.values():
                resident.seen = min(resident.seen + leap, now)

    def retire(self, *, before: float) -> Iterator[Session]:
        """Make those idle that were last heard of before that time."""
        for resident in _heard_before(self._active, before):
            id = resident.session.id
            self._idle[id] = self._active.pop(id)
            yield resident.session

    def silent(self, *, before: float) -> list[SessionId]:
        """The idle sessions that were last heard of before that time."""
        return [resident.session.id for resident in _heard_before(self._idle, before)]

    # --- from the journal -------------------------------------------------------------------------------------------

    async def fold(self, id: SessionId, *, then: Iterable[AnyEntry] = ()) -> Session | None:
        """The session as the journal has it, and as the entries `then` change it; it is not kept."""
        past = await self._history.session(id)
        session = None if past is None else past.session
        for entry in then:
            session = evolve(session, entry, id=id)
        return session

    async def restore(self) -> Collection[Past]:
        """Bring back every open session (of a shared journal, those that were ours) that can be read."""
        found = [past async for past in self._history.open_sessions(damaged=self._leave_out)]
        for past in sorted(found, key=lambda past: past.written_at):
            self.place(past.session, seen=past.written_at)
        return found

    async def copy(self, id: SessionId) -> Session | None:
        """A session in memory with what others have written by now; a copy, so that what is decided on it can fail."""
        resident = self._find(id)
        if resident is None:
            return None
        past = await self._history.later(Past(resident.session, resident.seen, 0))
        self.place(past.session, seen=max(resident.seen, past.written_at))
        return thaw(freeze(past.session, written_at=past.written_at))

    async def bring(self, id: SessionId) -> None:
        """Bring a session back that nobody here has heard of."""
        past = await self._history.session(id)
        if past is not None and self.get(id) is None:
            self.place(past.session, seen=past.written_at)

    def suspect(self, ids: Iterable[SessionId], *, now: float) -> None:
        """What memory says of these sessions may not be what the journal says: forget it until it was read again."""
        for id in ids:
            resident = self.drop(id)
            self._suspects[id] = now if resident is None else resident.seen

    @property
    def suspects(self) -> bool:
        """Whether there are any to be read again."""
        return bool(self._suspects)

    async def reread(self) -> None:
        """Bring the suspects back. Raises `StoreAway`; those that cannot be read for another reason are left out."""
        while self._suspects:
            id, seen = next(iter(self._suspects.items()))
            try:
                past = await self._history.session(id)
            except StoreAway:
                raise
            except Exception as error:  # noqa: BLE001 - one damaged session must not take the others with it
                self._unreadable[id] = seen
                self._tell_left_out(id, error)
                past = None
            self._suspects.pop(id, None)
            if past is not None:
                self.place(past.session, seen=max(seen, past.written_at))

    def _leave_out(self, head: Head, error: Damaged) -> None:
        self._unreadable[head.session] = head.written_at
        self._tell_left_out(head.session, error)

    def _tell_left_out(self, id: SessionId, error: Exception) -> None:
        _log.error("session %r is left out until it can be read: %s", id, error)
        self._dropped("session", "damaged", 1)

    def try_again(self) -> None:
        """The journal works again: what could not be read is suspect once more."""
        self._suspects |= self._unreadable
        self._unreadable.clear()

    def _find(self, id: SessionId) -> Resident | None:
        return self._active.get(id) or self._idle.get(id) or self._closed.get(id)


def _parts(session: Session) -> int:
    """How many parts a session takes memory with."""
    held = sum(len(component.items) for component in session.components.values())
    return held + len(session.gone) + len(session.events) + len(session.requests)


def _heard_before(residents: dict[SessionId, Resident], time: float) -> list[Resident]:
    found = []
    for resident in residents.values():
        if resident.seen >= time:
            break
        found.append(resident)
    return found
