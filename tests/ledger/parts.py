"""Real journals with a fault, or a gate, or a counter; and what is asked of a ledger again and again."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from typing_extensions import override

from sidecar.budget.commands import Command, ItemSpec, OpenSession, PutItem, RequestAllocation
from sidecar.budget.evolve import replay
from sidecar.budget.session import state_of
from sidecar.journal import Frame, Head, Journal, JournalError, Outcome, SessionId, StoredEntry
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ask, Ledger, Record


class FaultyJournal(MemoryJournal):
    """Fails where it is told to: an append before or after it has stored, a read, a check; loses what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.append_fails: Literal["before", "after"] | None = None
        self.check_fails = False
        self.read_fails = False
        self.heads_fail = self.heads_hang = False
        self.damaged: set[SessionId] = set()
        self.appends = self.reads = self.checks = 0
        self.error: Exception = JournalError("disk on fire")

    @override
    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        self.appends += 1
        if self.append_fails == "before":
            raise self.error
        outcomes = await super().append(frames)
        if self.append_fails == "after":
            raise self.error
        return outcomes

    @override
    async def check(self) -> bool:
        self.checks += 1
        if self.check_fails:
            raise self.error
        return False

    @override
    async def heads(self, sessions: Collection[SessionId]) -> Mapping[SessionId, Head]:
        if self.heads_fail:
            raise self.error
        if self.heads_hang:
            await asyncio.get_running_loop().create_future()
        return await super().heads(sessions)

    def lose_last(self, session: SessionId) -> None:
        """The newest frame of a session was never written."""
        shelf = self._shelves[session]
        self._rows.remove(row := shelf.rows.pop())
        shelf.next_version = row.first

    @override
    async def read(self, session: SessionId | None = None, *, after: int = 0, limit: int | None = None) -> Any:
        self.reads += 1
        if self.read_fails:
            raise self.error
        if session in self.damaged:
            raise JournalError(f"session {session!r} is damaged")
        async for stored in super().read(session, after=after, limit=limit):
            yield stored


class GatedJournal(MemoryJournal):
    """Its appends wait at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.frames: list[Sequence[Frame]] = []

    @override
    async def append(self, frames: Sequence[Frame]) -> Sequence[Outcome]:
        self.frames.append(frames)
        self.arrived.set()
        await self.gate.wait()
        return await super().append(frames)


class Listener:
    """A sink that remembers, and may look at the journal as it is told something."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.retired: list[str] = []

    def publish(self, record: Record) -> None:
        self.records.append(record)

    def retire(self, session: Any) -> None:
        self.retired.append(session.id)

    def entries(self, session: str) -> list[StoredEntry]:
        return [stored for record in self.records for stored in record.entries if stored.session == session]


class Clock:
    """The server's time, as the test sets it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def request(tokens: int = 1, **fields: Any) -> RequestAllocation:
    return RequestAllocation(component="working_memory", tokens=tokens, **fields)


def put(item: str, *, tokens: int = 10, **fields: Any) -> PutItem:
    return PutItem(item=ItemSpec(id=item, kind="file", tokens=tokens, **fields))


def asks(session: str, *commands: Command, auto_open: bool = False) -> list[Ask]:
    return [Ask(session=session, command=command, auto_open=auto_open) for command in commands]


async def opened(ledger: Ledger, *sessions: str) -> None:
    for session in sessions:
        await ledger.handle(session, OpenSession())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the ledger does by itself."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody but the ledger knows when
            await asyncio.sleep(0.005)


async def state_in_memory(ledger: Ledger, session: str) -> Any:
    return state_of((await ledger.view(session)).session)


async def state_in_journal(journal: Journal, session: str) -> Any:
    return state_of(replay(session, [stored.entry async for stored in journal.read(session)]))


async def working_memory(ledger: Ledger, session: str = "s") -> int:
    return (await ledger.view(session)).session.components["working_memory"].used


__all__ = [
    "Clock",
    "FaultyJournal",
    "GatedJournal",
    "Listener",
    "asks",
    "opened",
    "put",
    "request",
    "state_in_journal",
    "state_in_memory",
    "until",
    "working_memory",
]
