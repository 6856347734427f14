"""What happened lately, in one bounded ring that every watcher reads at its own pace.

A watcher holds a place in the ring and nothing else. So publishing costs the same with no watcher and with fifty, a
slow one makes nobody wait and takes no memory, and who was away for a moment goes on where it was. Whoever is too late
for what the ring still has is told so.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from secrets import token_hex

import msgspec

from sidecar.budget.entries import CleanedUp
from sidecar.budget.session import Session
from sidecar.journal import SessionId, StoredEntry
from sidecar.journal.readable import readable
from sidecar.ledger import Record

# What the ring holds at most, in entries; a cleanup counts as one and one for each of its actions.
CAPACITY = 4096

_encode = msgspec.json.Encoder().encode


class Happening(msgspec.Struct, gc=False):
    """One entry at its place in the feed. Without an entry: the session went idle, which nothing was written about.

    `weight` is what it takes of the ring's capacity. One is made of each entry, so it is made in C.
    """

    session: SessionId
    entry: StoredEntry | None
    weight: int = 1
    encoded: bytes | None = None

    @property
    def data(self) -> bytes:
        """The entry as JSON, with its session: encoded when the first watcher reads it, once for all of them."""
        if self.encoded is None:
            self.encoded = b"" if self.entry is None else entry_data(self.entry)
        return self.encoded


def entry_data(stored: StoredEntry) -> bytes:
    """An entry as `GET .../ledger` shows it, with its session."""
    return _encode({"session": stored.session, **readable(stored)})


class Feed:
    """A `Sink` of the ledger. Places count from 1; `run` tells them from those of a feed before a restart."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.run = token_hex(4)
        self.closed = False
        self._ring: deque[Happening] = deque()
        self._capacity = capacity
        self._weight = 0
        self._last = 0
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The place of the latest happening; 0 before the first one."""
        return self._last

    # What the ledger says

    def publish(self, record: Record) -> None:
        """Take in the entries of a command, which are durable now."""
        for stored in record.entries:
            entry = stored.entry
            weight = 1 + len(entry.actions) if type(entry) is CleanedUp else 1
            self._add(Happening(stored.session, stored, weight))
        if record.entries and not self._news.is_set():
            self._news.set()

    def retire(self, session: Session) -> None:
        """The session went idle."""
        self._add(Happening(session.id, None))
        self._news.set()

    def close(self) -> None:
        """Nothing more will happen: let every watcher end."""
        self.closed = True
        self._news.set()

    def _add(self, happening: Happening) -> None:
        ring = self._ring
        ring.append(happening)
        self._last += 1
        self._weight += happening.weight
        while self._weight > self._capacity and len(ring) > 1:
            self._weight -= ring.popleft().weight

    # What a watcher asks

    def has(self, place: int) -> bool:
        """Whether everything after this place is still here."""
        return self._last - len(self._ring) <= place <= self._last

    def after(self, place: int, limit: int) -> Sequence[Happening]:
        """What happened after a place that `has` knows, at most `limit` of it."""
        start = place - (self._last - len(self._ring))
        if start > len(self._ring) // 2:  # a deque is walked from its nearer end
            tail = list(islice(reversed(self._ring), self._last - place))
            tail.reverse()
            return tail[:limit]
        return list(islice(self._ring, start, start + limit))

    async def wait(self, place: int, seconds: float) -> None:
        """Return when something happened after this place, when the feed closes, or after so many seconds."""
        if self._last > place or self.closed:
            return
        if self._news.is_set():  # by something that this watcher has seen: from now on, wait for the next
            self._news = asyncio.Event()
        news = self._news
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass
