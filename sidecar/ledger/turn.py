"""One turn: what it has decided, session by session, and has still to store and to answer."""

import asyncio
from dataclasses import dataclass, field

from sidecar.budget.decide import Decision
from sidecar.budget.entries import AnyEntry
from sidecar.budget.session import Session
from sidecar.journal import Frame, SessionId, StoredEntry
from sidecar.ledger.contract import Ask, Record, Reply


class Batch:
    """The answers to commands that came together; `done` when the last one is there."""

    def __init__(self, size: int) -> None:
        self.answers: list[Reply | Exception] = [Exception("not answered")] * size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = size

    def answer(self, place: int, answer: Reply | Exception) -> None:
        """Answer the command at this place of the batch."""
        self.answers[place] = answer
        self._left -= 1
        if not self._left and not self.done.done():  # done already: the caller has gone away
            self.done.set_result(None)


@dataclass(slots=True)
class Waiting:
    """A command that waits for its turn, and where its answer goes. `tries`: how often another writer was first."""

    ask: Ask
    batch: Batch
    place: int
    tries: int = 0
    answered: bool = False

    def answer(self, answer: Reply | Exception) -> None:
        """Answer it; only the first answer counts."""
        if not self.answered:
            self.answered = True
            self.batch.answer(self.place, answer)


@dataclass(slots=True)
class Decided:
    """A command with what became of it: a decision, or an error that only its caller sees."""

    waiting: Waiting
    outcome: Decision | Exception
    first: int = 0  # the version of the decision's first entry
    seconds: float = 0.0

    def record(self, decision: Decision, session: Session, written_at: float) -> Record:
        """What the sinks are told."""
        ask = self.waiting.ask
        entries = [
            StoredEntry(ask.session, version, written_at, entry)
            for version, entry in enumerate(decision.entries, self.first)
        ]
        seconds, called = self.seconds, decision.called
        return Record(session, ask.command, entries, decision.reply, decision.runs, seconds, ask.origin, called)


@dataclass(slots=True)
class Change:
    """What the turn adds to one session."""

    first: int
    entries: list[AnyEntry] = field(default_factory=list)
    contents: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Turn:
    """`sessions` are as the turn's decisions have left them; None: there is no such session yet.

    `written`: of sessions that were not in memory, whether the journal has any entry.
    """

    now: float
    written: dict[SessionId, bool] = field(default_factory=dict)
    taken: list[Waiting] = field(default_factory=list)
    sessions: dict[SessionId, Session | None] = field(default_factory=dict)
    changes: dict[SessionId, Change] = field(default_factory=dict)
    decided: list[Decided] = field(default_factory=list)

    def add(self, waiting: Waiting, decision: Decision, seconds: float) -> None:
        """A command was decided; its entries are applied to its session, not yet durable."""
        id = waiting.ask.session
        self.sessions[id] = decision.session
        first = decision.session.version - len(decision.entries) + 1
        self.decided.append(Decided(waiting, decision, first, seconds))
        if decision.entries:
            change = self.changes.get(id)
            if change is None:
                change = self.changes[id] = Change(first)
            change.entries.extend(decision.entries)
            if decision.contents:
                change.contents.update(decision.contents)

    def refuse(self, waiting: Waiting, error: Exception) -> None:
        """A command was wrong. It is told so after the turn: what was wrong may rest on what is not yet durable."""
        self.decided.append(Decided(waiting, error))

    def frames(self) -> list[Frame]:
        """What is to be stored: one frame a session."""
        return [
            Frame(id, change.first, self.now, change.entries, change.contents) for id, change in self.changes.items()
        ]

    def entries(self) -> int:
        """How many entries are to be stored."""
        return sum(len(change.entries) for change in self.changes.values())

    def fail(self, error: Exception) -> None:
        """Answer everything that has no answer yet."""
        for waiting in self.taken:
            waiting.answer(type(error)(*error.args))
