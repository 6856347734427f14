"""The commands that wait for their turn: bounded in number and in time, and fair (see `lines`).

Whoever is over its share when there is no room waits for nothing: it is refused at once. Whoever is below it gets the
place of the last one of the longest line.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence

from sidecar.journal import SessionId
from sidecar.ledger.contract import Ask, Overloaded
from sidecar.ledger.lines import Lines
from sidecar.ledger.turn import Batch, Waiting

_FORGETS = 0.9  # of what was known of the speed, so much is still believed after another turn


class Queue:
    """At most `most` commands, none of which is to wait for more than `longest` seconds.

    They come in batches, and leave one by one. `agent_of` says whose a session is; "" where nobody knows.
    """

    def __init__(self, most: int, longest: float, *, agent_of: Callable[[SessionId], str]) -> None:
        self._most = most
        self._longest = longest
        self._lines = Lines(agent_of)
        self._served = 0.0  # commands, and
        self._seconds = 0.0  # how long they took, of late, while others waited
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._lines)

    def add(self, asks: Sequence[Ask]) -> Batch:
        """Commands that came together; where their answers will be.

        Those that there is no room for are answered so. Raises `Overloaded` where none of them is taken.
        """
        batch = Batch(len(asks))
        refused: dict[SessionId, Overloaded] = {}
        if self._lines and self._served:
            refused = self._too_long({ask.session for ask in asks})
            if refused and all(ask.session in refused for ask in asks):
                raise refused[asks[0].session]
        room = len(asks) if not self._lines else self._most - len(self._lines)
        for place, ask in enumerate(asks):
            waiting = Waiting(ask, batch, place)
            error = refused.get(ask.session)
            if error is None and room <= 0:
                error = self._make_room(ask.session)
                if error is not None:  # and so it is for what comes after it: commands keep their order
                    refused[ask.session] = error
                    if len(asks) == 1:
                        raise error
            if error is None:
                self._lines.add(waiting)
                room -= 1
            else:
                waiting.answer(Overloaded(error.detail, retry_after=error.retry_after))
        self.wake()
        return batch

    def first(self) -> Waiting:
        """The one that is next; there must be one."""
        return self._lines.first()

    def take(self) -> Waiting:
        """Take the one that is next; there must be one."""
        return self._lines.take()

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
            waiting = self._lines.take()
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
        self._woken.set()

    async def filled(self) -> None:
        """Wait until something comes, or until `wake`."""
        self._woken.clear()
        await self._woken.wait()

    async def gathered(self, enough: int) -> None:
        """Wait while each round of the event loop brings more, until there are enough: they all share one commit."""
        before = 0
        while before < len(self._lines) < enough:
            before = len(self._lines)
            await asyncio.sleep(0)

    def _too_long(self, sessions: set[SessionId]) -> dict[SessionId, Overloaded]:
        """The sessions whose next command would wait for too long."""
        pace = self._seconds / self._served
        waits = ((session, self._lines.before(session) * pace) for session in sessions)
        return {session: _overloaded(session, wait) for session, wait in waits if wait > self._longest}

    def _make_room(self, session: SessionId) -> Overloaded | None:
        """Room for a command of the session, at the cost of the longest line; or why there is none."""
        count = len(self._lines)
        if self._lines.of(session) + 1 >= self._lines.share:
            return Overloaded(f"{count:,} commands wait already, which is the limit (the setting max_waiting)")
        gives = self._lines.push_out(self._lines.longest())
        gives.answer(Overloaded(f"{count:,} commands wait already, most of them for session {gives.ask.session!r}"))
        return None


def _overloaded(session: SessionId, wait: float) -> Overloaded:
    detail = f"a command of session {session!r} would wait for {wait:.1f} s (the setting max_wait)"
    return Overloaded(detail, retry_after=math.ceil(wait))
