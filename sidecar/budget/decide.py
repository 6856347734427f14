"""A command and a session give entries and an answer (SPEC 3.2).

The order is fixed: due leases lapse; the command is decided; targets are checked; a due share adjustment runs. Nothing
here reads a clock or does input or output, and errors are raised before anything has changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sidecar.budget import facts, life, planning, requests, restoring, window
from sidecar.budget.called import Called, called
from sidecar.budget.cleanup import CleanupRun
from sidecar.budget.clock import session_time
from sidecar.budget.commands import (
    Acknowledge,
    AdjustShares,
    ChangeSession,
    CleanUp,
    CloseSession,
    Command,
    CompleteItem,
    CompleteTask,
    EraseArchive,
    ExpireSession,
    LapseLeases,
    OpenSession,
    PlanTasks,
    PutItem,
    ReleaseTokens,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    RestoreItem,
    SyncWindow,
    TouchItem,
)
from sidecar.budget.entries import AnyEntry, Noted
from sidecar.budget.errors import Conflict, NotFound
from sidecar.budget.evolve import evolve
from sidecar.budget.life import Defaults
from sidecar.budget.report import directive_replies, report
from sidecar.budget.restoring import Archived
from sidecar.budget.session import Session
from sidecar.budget.turn import Turn

__all__ = ["Decision", "Defaults", "decide"]


@dataclass(slots=True)
class Decision:
    """What a command came to. `entries` are applied to `session` already; the journal has still to take them.

    `cleaning`: the seconds that cleanups took, those planned and not carried out included. `called`: what the model
    call found that the command told of.
    """

    session: Session
    reply: Any
    entries: tuple[AnyEntry, ...] = ()
    runs: tuple[CleanupRun, ...] = ()
    contents: dict[int, str] = field(default_factory=dict)
    duplicate: bool = False
    created: bool = False
    cleaning: float = 0.0
    called: Called | None = None


# What is decided by what is known of the agent, or adds to it.
_OF_THE_AGENT = frozenset({PlanTasks.type, CompleteTask.type, CloseSession.type, ExpireSession.type})


def _still() -> float:
    return 0.0


def decide(  # noqa: PLR0913 - a decision has many circumstances, each named by the ledger
    session: Session | None,
    command: Command,
    *,
    id: str,
    now: float,
    defaults: Defaults,
    auto_open: bool = False,
    answered: bool = True,
    archived: Archived | None = None,
    stopwatch: Callable[[], float] = _still,
) -> Decision:
    """Decide a command at server time `now` (epoch seconds) and apply what follows to the session.

    `auto_open`: an unknown session is opened by the command. `answered`: the answer carries directives.
    `archived`: the record that a `RestoreItem` names. `stopwatch` measures cleanups, in seconds.
    Raises `Invalid`, `NotFound` or `Conflict`; a session whose version moved all the same must be rebuilt.
    """
    if session is not None and command.id is not None and command.id in session.events:
        return Decision(session=session, reply={"directives": directive_replies(session)}, duplicate=True)
    at = session_time(session, command.time, now=now)
    host = command.time is not None
    if isinstance(command, OpenSession):
        return _open(session, command, id=id, at=at, host=host, defaults=defaults)
    before: tuple[AnyEntry, ...] = ()
    if session is None:
        if not auto_open or isinstance(command, CloseSession):
            raise NotFound(f"session {id!r} is not open: open it with PUT /v1/sessions/{{session}}", path="session")
        opened = life.opened(None, OpenSession(), id=id, at=at, host=host, defaults=defaults)
        if opened is None:
            raise AssertionError("a session that is not there is always opened")
        session, before = evolve(None, opened, id=id), (opened,)
    if session.closed:
        if isinstance(command, CloseSession | ExpireSession | LapseLeases):
            return Decision(session=session, reply=report(session))
        raise Conflict(f"session {id!r} is closed: open it again first", path="session")
    # By position, as everything that each command makes anew: by keyword Python takes twice as long to make it.
    turn = Turn(session, at, host, command.id, answered, stopwatch, defaults.store_content)
    if command.type in _OF_THE_AGENT:  # by name: an event is a subclass of its command
        turn.profile, turn.learns = defaults.profile(session.agent), defaults.learn
    calls = session.calls
    interval = session.policy.adapt.interval
    reply = _carry_out(turn, command, archived, defaults.adjust_interval if interval is None else interval)
    found = called(session) if session.calls != calls else None
    entries = (*before, *turn.entries) if before else tuple(turn.entries)
    return Decision(session, reply, entries, tuple(turn.runs), turn.contents, False, bool(before), turn.cleaning, found)


def _open(
    session: Session | None, command: OpenSession, *, id: str, at: float, host: bool, defaults: Defaults
) -> Decision:
    entry: AnyEntry | None = life.opened(session, command, id=id, at=at, host=host, defaults=defaults)
    created = entry is not None
    if entry is None and command.id is not None:
        entry = Noted(time=at, host=host, event=command.id)
    if entry is None:
        if session is None:
            raise AssertionError("a session that is not there is always opened")
        return Decision(session=session, reply=report(session))
    session = evolve(session, entry, id=id)
    return Decision(session=session, reply=report(session), entries=(entry,), created=created)


def _carry_out(turn: Turn, command: Command, archived: Archived | None, interval: float | None) -> Any:
    """The steps of SPEC 3.2, in their order; the reply tells how things stand after the last of them.

    Whatever decides leaves its reply's directives empty: they are told here, once, if the answer carries any.
    """
    session = turn.session
    if session.next_lapse is not None:
        requests.lapse(turn)
    reply = _dispatch(turn, command, archived)
    if interval is not None and not session.closed and planning.adjust_if_due(turn, interval):
        if isinstance(command, ChangeSession):
            reply = report(session)
        elif "report" in reply:
            reply["report"] = report(session)
    if turn.answered and session.directives and "directives" in reply:
        reply["directives"] = directive_replies(session)
    if not turn.entries and command.id is not None:
        turn.emit(Noted(time=turn.at, host=turn.host))
    return reply


def _dispatch(turn: Turn, command: Command, archived: Archived | None) -> Any:  # noqa: C901, PLR0911, PLR0912
    match command:
        case RequestAllocation():
            return requests.request(turn, command)
        case ReleaseTokens():
            return requests.release(turn, command)
        case PutItem():
            return facts.put_item(turn, command)
        case TouchItem():
            return facts.touch_item(turn, command)
        case CompleteItem():
            return facts.complete_item(turn, command)
        case RemoveItem():
            return facts.remove_item(turn, command)
        case ReportUsage():
            return facts.report_usage(turn, command)
        case SyncWindow():
            return window.sync_window(turn, command)
        case Acknowledge():
            return window.acknowledge(turn, command)
        case PlanTasks():
            return planning.plan_tasks(turn, command)
        case CompleteTask():
            return planning.complete_task(turn, command)
        case CleanUp():
            return planning.clean_up(turn, command)
        case AdjustShares():
            return planning.adjust(turn, command)
        case RestoreItem():
            return restoring.restore(turn, command, archived)
        case EraseArchive():
            return restoring.erase(turn, command, archived)
        case ChangeSession():
            return life.change(turn, command)
        case LapseLeases():
            return report(turn.session)
        case CloseSession():
            return life.close(turn, "host")
        case ExpireSession():
            return life.close(turn, "idle")
        case _:
            raise TypeError(f"no one decides {type(command).__name__}")
