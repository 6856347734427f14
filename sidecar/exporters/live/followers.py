"""Who follows what: all sessions through the feed alone, or one session through the feed and its journal.

Entries of all sessions have no order but the feed's, so whoever comes too late for the feed has to be told to read
anew. Entries of one session are numbered by their versions, so that nothing of it is ever lost: what the feed no longer
has, the journal has, unless it was told to forget it.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sidecar.exporters.live.feed import Feed, entry_data
from sidecar.exporters.live.sse import event
from sidecar.journal import SessionId
from sidecar.ledger import Ledger

PIECE = 64  # entries that are encoded before others have a turn


class Follower(Protocol):
    """What one stream sends. `place` is where it stands in the feed, `touched` the sessions that changed on the way."""

    place: int
    touched: dict[SessionId, None]

    @property
    def id(self) -> str:
        """What a client shows as `Last-Event-ID` to go on from here."""
        ...

    async def news(self) -> Sequence[bytes]:
        """The events to send next; none if there is nothing new. Raises `JournalError`."""
        ...

    def look_again(self) -> None:
        """Time has passed: see whether something happened without the feed."""
        ...


def reset(reason: str) -> bytes:
    """The event that says that entries are missing here: read what is shown anew, through the API."""
    return event(msgspec.json.encode({"reason": reason}), name="reset")


class AllSessions:
    """Everything that this sidecar's ledger does. An id is the feed's run and a place in it."""

    def __init__(self, feed: Feed, last: str | None, *, missed: "Missed") -> None:
        """`last` is the id that the client shows; `missed` is told how many entries a reader was too slow for."""
        self._feed = feed
        self._missed = missed
        self.place = feed.last
        self.touched: dict[SessionId, None] = {}
        self._lost: str | None = None
        if last is not None:
            run, _, number = last.partition("-")
            if run == feed.run and _is_number(number) and feed.has(int(number)):
                self.place = int(number)
            else:
                self._lost = "the entries since then are no longer at hand"

    @property
    def id(self) -> str:
        """The run and the place."""
        return f"{self._feed.run}-{self.place}"

    async def news(self) -> Sequence[bytes]:
        """What happened since, or a `reset` where some of it is lost."""
        feed = self._feed
        if not feed.has(self.place):
            self._missed(feed.last - self.place)
            self.place = feed.last
            self._lost = "entries came faster than they were read"
        if self._lost is not None:
            lost, self._lost = self._lost, None
            return [reset(lost)]
        events = []
        for happening in feed.after(self.place, PIECE):
            self.place += 1
            self.touched[happening.session] = None
            if happening.entry is not None:
                events.append(event(happening.data, id=self.id))
        return events

    def look_again(self) -> None:
        """There is nothing but the feed."""


class OneSession:
    """One session. An id is a version: the entries after it are sent, wherever they are to be had."""

    def __init__(self, ledger: Ledger, feed: Feed, session: SessionId, place: int, version: int) -> None:
        """`place`: where the feed stood before the session was at `version`."""
        self._ledger = ledger
        self._feed = feed
        self._session = session
        self._version = version
        self._behind = False
        self._lost: str | None = None
        self.place = place
        self.touched: dict[SessionId, None] = {session: None}

    def resume(self, last: str) -> None:
        """Go on after the version that the client shows."""
        if not _is_number(last) or int(last) > self._version:
            self._lost = "the session has no such version"
        else:
            self._version, self._behind = int(last), True

    @property
    def id(self) -> str:
        """The version of the last entry sent."""
        return str(self._version)

    async def news(self) -> Sequence[bytes]:
        """The next entries in order of version."""
        if self._lost is not None:
            lost, self._lost = self._lost, None
            return [reset(lost)]
        if not self._behind:
            events = self._from_feed()
            if events or not self._behind:
                return events
        return await self._from_journal()

    def look_again(self) -> None:
        """Another replica may have written to the session."""
        self._behind = True

    def _from_feed(self) -> list[bytes]:
        events: list[bytes] = []
        feed = self._feed
        while not events and feed.last > self.place:
            if not feed.has(self.place):
                self.place, self._behind = feed.last, True
                return events
            for happening in feed.after(self.place, PIECE):
                if happening.session == self._session:
                    self.touched[self._session] = None
                    if happening.entry is not None and happening.entry.version > self._version + 1:
                        self._behind = True
                        return events
                    if happening.entry is not None and happening.entry.version == self._version + 1:
                        self._version += 1
                        events.append(event(happening.data, id=self.id))
                self.place += 1
        return events

    async def _from_journal(self) -> list[bytes]:
        stored = await self._ledger.entries(self._session, after=self._version, limit=PIECE)
        events = []
        if stored and stored[0].version > self._version + 1:
            events.append(reset("the entries since then have been forgotten"))
        for entry in stored:
            self._version = entry.version
            events.append(event(entry_data(entry), id=self.id))
        if events:
            self.touched[self._session] = None
        self._behind = len(stored) == PIECE
        return events or self._from_feed()


class Missed(Protocol):
    """Told how many entries a reader was too slow for."""

    def __call__(self, count: int, /) -> None:
        """So many."""
        ...


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18  # noqa: PLR2004 - digits of any version there can be
