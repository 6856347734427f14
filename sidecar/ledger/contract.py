"""What others say to the ledger, and what they hear from it.

What is made anew for each command is neither frozen, though nobody changes it, nor made by keyword: either doubles
what it costs to make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.budget.called import Called
from sidecar.budget.cleanup import CleanupRun
from sidecar.budget.commands import Command
from sidecar.budget.session import Session
from sidecar.journal import SessionId, StoredEntry


class Overloaded(Exception):
    """More waits, or more is open, than the ledger takes. Worth trying again after `retry_after` seconds."""

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the ledger takes on. Times are seconds of server time.

    `close_after` counts from the last command, as `idle_after` does.
    """

    waiting_commands: int = 10_000
    waiting_seconds: float = 0.25  # a command that would wait for longer is refused
    turn_commands: int = 256
    turn_seconds: float = 0.005  # a turn that has decided for so long stores what it has, so that others get the loop
    open_sessions: int = 100_000
    items: int = 100_000  # that one session holds
    closed_in_memory: int = 1_000
    closed_parts_in_memory: int = 20_000  # items held and archived, and ids remembered, of all of those together
    idle_after: float = 900.0
    close_after: float = 86_400.0
    sweep_every: float = 5.0  # how often idle sessions are looked for
    snapshot_every: int = 1_000  # entries of a session
    content_bytes: int = 1 << 20  # of an item: longer content is not kept
    observe_without_journal: bool = False  # observed sessions go on in memory while the journal is down


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a command came from: the receiver's name, and its caller's trace context (W3C), if there was one."""

    receiver: str
    context: object | None = None


@dataclass(slots=True)
class Ask:
    """A command to a session. `answered`: its answer carries directives. `auto_open`: it may open the session."""

    session: SessionId
    command: Command
    origin: Origin | None = None
    answered: bool = True
    auto_open: bool = False


@dataclass(slots=True)
class Reply:
    """What a command is answered: `body` is one of `budget.replies`."""

    body: Any
    created: bool = False
    duplicate: bool = False


@dataclass(slots=True)
class Record:
    """What one decided command did, told to the sinks after its entries are durable, and if it made none.

    `session` is the session after the whole turn, to be looked at now and not kept. `decision_seconds` leaves cleanups
    and the journal out. `called` is what a model call found that the command told of, when that was decided.
    """

    session: Session
    command: Command
    entries: Sequence[StoredEntry]
    reply: Any
    runs: tuple[CleanupRun, ...]
    decision_seconds: float
    origin: Origin | None
    called: Called | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as it is durable. Read it before you await anything: the next turn changes it."""

    session: Session
    idle: bool


class Sink(Protocol):
    """Something that shows or counts what happened. Called between turns; never blocks, never raises."""

    def publish(self, record: Record) -> None:
        """A command was decided and is durable."""
        ...

    def retire(self, session: Session) -> None:
        """Nothing was heard of the session for a while: it leaves the gauges until a later `publish`."""
        ...


class Tally(Protocol):
    """What receivers tell about bytes that came in, also where they never became a command."""

    def received(self, receiver: str, type: str, count: int = 1) -> None:
        """So many events of a type came in."""
        ...

    def rejected(self, receiver: str, reason: str, count: int = 1) -> None:
        """So many were refused; `reason` is one of a bounded set."""
        ...
