"""Retention: what is forgotten, by age and by size, so that the journal does not grow without end.

By age: closed sessions with all that is theirs; entries of open sessions that a snapshot stands for; archive records
with their contents. By size: closed sessions, the oldest first, then archive records, then such entries, until the
journal is below nine tenths of what it may take. Everything that goes is counted, and told in the log, a line a sweep.
Ages are of server time.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from sidecar.journal import Damaged, Head, Journal, SessionId
from sidecar.journal.freezing import freeze
from sidecar.ledger.history import History
from sidecar.ledger.residents import Residents

_log = logging.getLogger(__name__)

_PAGE = 200
_OLDEST = 10_000  # closed sessions remembered for the case that the journal is too large
_ROOM = 0.9
_WORDS = {
    "session": ("session", "sessions"),
    "entry": ("entry", "entries"),
    "archive_record": ("archive record", "archive records"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long, in seconds, and how much, in bytes; None is for ever, and without bound. `every`: seconds between."""

    closed: float | None = None
    entries: float | None = None
    archive: float | None = None
    size: int | None = None
    every: float = 600.0


class Retention:
    """Forgets. `dropped` is told what, why and how many."""

    def __init__(
        self,
        journal: Journal,
        residents: Residents,
        keep: Keep,
        *,
        dropped: Callable[[str, str, int], None],
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._residents = residents
        self._history = History(journal)
        self._keep = keep
        self._dropped = dropped
        self._clock = clock
        self._gone: Counter[tuple[str, str]] = Counter()  # in this sweep: how many, by what and why

    async def forget(self) -> list[Head]:
        """Forget what is too old, and what is too much. Raises `JournalError`. The heads of the open sessions."""
        try:
            return await self._sweep()
        finally:
            if self._gone:  # also where it broke off
                _log.info("forgotten: %s", ", ".join(_told(*gone) for gone in self._gone.items()))
                self._gone.clear()

    async def _sweep(self) -> list[Head]:
        now, keep = self._clock(), self._keep
        oldest: list[tuple[float, SessionId, Head]] = []  # closed, the newest of them first: a heap
        open_: list[Head] = []
        async for head in self._heads():
            if not head.closed:
                open_.append(head)
            elif keep.closed is not None and head.written_at < now - keep.closed:
                await self._forget_session(head, "age")
                continue
            elif keep.size is not None:
                heapq.heappush(oldest, (-head.written_at, head.session, head))
                if len(oldest) > _OLDEST:
                    heapq.heappop(oldest)
            if keep.archive is not None:
                await self._forget_archive(head, now - keep.archive, "age")
            if keep.entries is not None and not head.closed:
                await self._forget_entries(head, now - keep.entries, "age")
        if keep.size is not None and await self._journal.size() > keep.size:
            await self._make_room([head for _, _, head in sorted(oldest, reverse=True)], open_, keep.size)
        return open_

    async def _make_room(self, closed: Sequence[Head], open_: Sequence[Head], size: int) -> None:
        enough = size * _ROOM
        for head in closed:
            if await self._journal.size() <= enough:
                return
            await self._forget_session(head, "size")
        by_age = sorted(open_, key=lambda head: head.written_at)
        for forget in (self._forget_archive, self._forget_entries):
            for head in by_age:
                if await self._journal.size() <= enough:
                    return
                await forget(head, self._clock(), "size")
        _log.warning("the journal takes more than the %d bytes that it may, all of it for open sessions", size)

    async def _heads(self) -> AsyncIterator[Head]:
        after: SessionId | None = None
        while True:
            heads = await self._journal.survey(after=after, limit=_PAGE)
            for head in heads:
                yield head
            if len(heads) < _PAGE:
                return
            after = heads[-1].session
            await asyncio.sleep(0)

    async def _forget_session(self, head: Head, reason: str) -> None:
        # From its snapshot it can be read for as long as some of it is there.
        snapshots = await self._journal.snapshots([head.session])
        if head.session not in snapshots:
            try:
                past = await self._history.session(head.session)
            except Damaged:
                return  # what cannot be read is not thrown away either: a backup may heal it
            if past is not None:
                await self._journal.keep_snapshots([freeze(past.session, written_at=past.written_at)])
        if await self._journal.forget_session(head):
            self._count("session", reason, 1)
            resident = self._residents.get(head.session)
            if resident is not None and resident.closed:
                self._residents.drop(head.session)

    async def _forget_entries(self, head: Head, before: float, reason: str) -> None:
        if count := await self._journal.forget_entries(head.session, before=before):
            self._count("entry", reason, count)

    async def _forget_archive(self, head: Head, before: float, reason: str) -> None:
        if count := await self._journal.forget_archive(head.session, before=before):
            self._count("archive_record", reason, count)

    def _count(self, what: str, reason: str, count: int) -> None:
        self._gone[what, reason] += count
        self._dropped(what, reason, count)


def _told(kind: tuple[str, str], count: int) -> str:
    what, reason = kind
    one, many = _WORDS[what]
    return f"{count:,} {one if count == 1 else many} by {reason}"
