"""The commands that wait for their turn, in the order in which they came; bounded."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from sidecar.ledger.contract import Ask, Overloaded
from sidecar.ledger.turn import Batch, Waiting


class Queue:
    """At most `most` commands: they come in batches, and leave one by one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Waiting] = deque()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, asks: Sequence[Ask]) -> Batch:
        """Commands that came together; where their answers will be. Raises `Overloaded` where none of them is taken."""
        if self._waiting and len(self._waiting) + len(asks) > self._most:
            raise Overloaded(f"{len(self._waiting)} commands wait already")
        batch = Batch(len(asks))
        self._waiting.extend(Waiting(ask, batch, place) for place, ask in enumerate(asks))
        self.wake()
        return batch

    def first(self) -> Waiting:
        """The one that is next; there must be one."""
        return self._waiting[0]

    def take(self) -> Waiting:
        """Take the one that is next; there must be one."""
        return self._waiting.popleft()

    def put_back(self, taken: Sequence[Waiting]) -> None:
        """These are next again, in this order."""
        self._waiting.extendleft(reversed(taken))

    def refuse(self, error: Exception, *, unless: Callable[[Ask], bool] = lambda _: False) -> None:
        """Answer all with a copy of the error, but those of which `unless` is true: they go on waiting."""
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if unless(each.ask):
                self._waiting.append(each)
            else:
                each.answer(type(error)(*error.args))

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
        while before < len(self._waiting) < enough:
            before = len(self._waiting)
            await asyncio.sleep(0)
