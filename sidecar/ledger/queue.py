"""The commands that wait for their turn: bounded in number and in time, and fair (see `lines`).

Where there is no room, the longest line gives its last places to whoever has less, if it is a long one; else whoever
comes is refused.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from sidecar.journal import SessionId
from sidecar.ledger.contract import Ask, Overloaded
from sidecar.ledger.lines import IN_A_ROW, Lines
from sidecar.ledger.turn import Batch, Waiting

_FORGETS = 0.9  # of what was known of the speed, so much is still believed after another turn
_MOST_PATIENCE = 30  # seconds to ask for at most: a journal that hung makes the pace look far worse than it goes on


class Queue:
    """At most `most` commands, none of which is to wait for more than `longest` seconds.

    They come in batches, and leave a few of one session at a time. `agent_of` says whose a session is; "" where nobody
    knows.
    """

    def __init__(self, most: int, longest: float, *, agent_of: Callable[[SessionId], str]) -> None:
        self._most = most
        self._longest = longest
        self._lines = Lines(agent_of)
        self._served = 0.0  # commands, and
        self._seconds = 0.0  # how long they took, of late, while others waited
        self._sleeping: asyncio.Future[None] | None = None  # lighter than an event, and this is for every turn

    def __len__(self) -> int:
        return self._lines.count

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._lines)

    @property
    def sessions(self) -> Collection[SessionId]:
        """For which something waits."""
        return self._lines.sessions

    def add(self, asks: Sequence[Ask]) -> Batch:
        """Commands that came together; where their answers will be.

        There is room for all of them or for none; those that would wait for too long are answered so. Raises
        `Overloaded` where none is taken.
        """
        refused: dict[SessionId, Overloaded] = {}
        if self._lines:
            if self._lines.count * self._seconds > self._longest * self._served:  # else nobody would wait for so long
                refused = self._too_long({ask.session for ask in asks})
            if refused and all(ask.session in refused for ask in asks):
                raise refused[asks[0].session]
            missing = self._lines.count + len(asks) - self._most
            if missing > 0:
                self._make_room(missing, asks)
        batch = Batch(len(asks))
        add = self._lines.add
        for place, ask in enumerate(asks):
            waiting = Waiting(ask, batch, place)
            error = refused.get(ask.session) if refused else None
            if error is None:
                add(waiting)
            else:
                waiting.answer(Overloaded(error.detail, retry_after=error.retry_after))
        self.wake()
        return batch

    def take(self, most: int) -> list[Waiting]:
        """Take those that are next, all of one session, at most so many; there must be one."""
        return self._lines.take(most)

    def pass_on(self, session: SessionId) -> None:
        """The session's command took so long that its turn is over."""
        self._lines.pass_on(session)

    def put_back(self, taken: Sequence[Waiting]) -> None:
        """These are next of their sessions again, in this order."""
        for waiting in reversed(taken):
            self._lines.put_back(waiting)

    def refuse(self, error: Exception, *, unless: Callable[[Ask], bool] = lambda _: False) -> None:
        """Answer all with a copy of the error, but those of which `unless` is true: they go on waiting."""
        stay = []
        while self._lines:
            for waiting in self._lines.take(IN_A_ROW):
                if unless(waiting.ask):
                    stay.append(waiting)
                else:
                    waiting.answer(type(error)(*error.args))
        for waiting in stay:
            self._lines.add(waiting)

    def served(self, count: int, seconds: float) -> None:
        """So many were served in a turn that left others waiting, in so many seconds from the turn before."""
        self._served = self._served * _FORGETS + count
        self._seconds = self._seconds * _FORGETS + seconds

    def wake(self) -> None:
        """Let `filled` return."""
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)

    async def filled(self) -> None:
        """Wait until something comes, or until `wake`."""
        self._sleeping = asyncio.get_running_loop().create_future()
        try:
            await self._sleeping
        finally:
            self._sleeping = None

    async def gathered(self, enough: int) -> None:
        """Wait while each round of the event loop brings more, until there are enough: they all share one commit."""
        before = 0
        while before < self._lines.count < enough:
            before = self._lines.count
            await asyncio.sleep(0)

    def _too_long(self, sessions: set[SessionId]) -> dict[SessionId, Overloaded]:
        """The sessions whose next command would wait for too long."""
        pace = self._seconds / self._served
        waits = ((session, self._lines.before(session) * pace) for session in sessions)
        return {session: _overloaded(session, wait) for session, wait in waits if wait > self._longest}

    def _make_room(self, missing: int, asks: Sequence[Ask]) -> None:
        """Let the longest line give way, if it is one of those that take the room from others. Else `Overloaded`."""
        count, longest = self._lines.count, self._lines.longest()
        own = Counter(ask.session for ask in asks)
        most = max(self._lines.of(session) + more for session, more in own.items())
        if self._lines.of(longest) - missing < max(IN_A_ROW, most):
            raise Overloaded(f"{count:,} commands wait already, which is the limit (the setting max_waiting)")
        for _ in range(missing):
            pushed = self._lines.push_out(longest)
            pushed.answer(Overloaded(f"{count:,} commands wait already, most of them for session {longest!r}"))


def _overloaded(session: SessionId, wait: float) -> Overloaded:
    detail = f"a command of session {session!r} would wait for {wait:.1f} s (the setting max_wait)"
    return Overloaded(detail, retry_after=min(math.ceil(wait), _MOST_PATIENCE))
