"""A command and a session give entries and an answer (SPEC 3.2).

The order is fixed: due leases lapse; the command is decided; targets are checked; a due share adjustment runs. Nothing
here reads a clock or does input or output, and errors are raised before anything has changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sidecar.budget import facts, planning, requests, window
from sidecar.budget.allocation import check_shares
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
    ItemSpec,
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
from sidecar.budget.entries import AnyEntry, ArchiveErased, Changed, Closed, Noted, Opened
from sidecar.budget.errors import Conflict, Invalid, NotFound
from sidecar.budget.evolve import evolve
from sidecar.budget.items import Kind
from sidecar.budget.policy import PRESETS, Component, Mode
from sidecar.budget.replies import ErasureReply, Report, RestoreReply
from sidecar.budget.report import directive_replies, report, rfc3339
from sidecar.budget.session import Session
from sidecar.budget.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the operator has settled for sessions that do not say. `adjust_interval` in seconds; None is off."""

    agent: str = "unknown"
    mode: Mode = "managed"
    preset: str = "standard"
    total_tokens: int | None = None  # None: the preset's
    store_content: bool = True
    adjust_interval: float | None = None


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a command came to. `entries` are applied to `session` already; the journal has still to take them."""

    session: Session
    reply: Any
    entries: tuple[AnyEntry, ...] = ()
    runs: tuple[CleanupRun, ...] = ()
    contents: dict[int, str] = field(default_factory=dict)
    duplicate: bool = False
    created: bool = False


class Archived(Protocol):
    """The archive record that a restore speaks of."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def component(self) -> Component: ...
    @property
    def step(self) -> str | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def tokens_before(self) -> int: ...
    @property
    def tokens_after(self) -> int: ...
    @property
    def archived_at(self) -> float: ...
    @property
    def content(self) -> str | None: ...


def _still() -> float:
    return 0.0


def decide(
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
    Raises `Invalid`, `NotFound` or `Conflict`; whoever calls it must rebuild a session whose version moved all the same.
    """
    if session is not None and command.id is not None and command.id in session.events:
        return Decision(session=session, reply={"directives": directive_replies(session)}, duplicate=True)
    at = session_time(session, command.time, now=now)
    host = command.time is not None
    if isinstance(command, OpenSession):
        return _open(session, command, id=id, at=at, host=host, defaults=defaults)
    if session is None:
        if not auto_open:
            raise NotFound(f"session {id!r} is not open: open it with PUT /v1/sessions/{{session}}", path="session")
        if isinstance(command, CloseSession):
            raise NotFound(f"session {id!r} was never open", path="session")
        opened = _open(None, OpenSession(), id=id, at=at, host=host, defaults=defaults)
        session, before = opened.session, opened.entries
    else:
        before = ()
        if session.closed:
            if isinstance(command, CloseSession | ExpireSession):
                return Decision(session=session, reply=report(session))
            raise Conflict(f"session {id!r} is closed: open it again first", path="session")
    turn = Turn(
        session=session,
        at=at,
        host=host,
        event=command.id,
        answered=answered,
        stopwatch=stopwatch,
        store_content=defaults.store_content,
    )
    requests.lapse(turn)
    turn.begin()
    reply = _dispatch(turn, command, archived)
    if not session.closed:
        planning.adjust_if_due(turn, _interval(session, defaults))
        if "directives" in reply and turn.runs:
            reply["directives"] = directive_replies(session)
    if not turn.entries and command.id is not None:
        turn.emit(Noted(time=at, host=host))
    return Decision(
        session=session,
        reply=reply,
        entries=(*before, *turn.entries),
        runs=tuple(turn.runs),
        contents=turn.contents,
        created=bool(before),
    )


def _interval(session: Session, defaults: Defaults) -> float | None:
    own = session.policy.adapt.interval
    return defaults.adjust_interval if own is None else own


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
            return _restore(turn, command, archived)
        case EraseArchive():
            return _erase(turn, command, archived)
        case ChangeSession():
            return _change(turn, command)
        case CloseSession():
            return _close(turn, "host")
        case ExpireSession():
            return _close(turn, "idle")
        case _:
            raise TypeError(f"no one decides {type(command).__name__}")


# A session's life (SPEC 3.9)


def _open(
    session: Session | None, command: OpenSession, *, id: str, at: float, host: bool, defaults: Defaults
) -> Decision:
    preset = command.preset or defaults.preset
    policy = PRESETS.get(preset)
    if policy is None:
        raise Invalid(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}", path="preset")
    total = command.total_tokens or defaults.total_tokens or policy.total_tokens
    reserve = command.reserve_tokens or 0
    _check_reserve(total, reserve)
    entry = Opened(
        time=at,
        host=host,
        event=command.id,
        agent=command.agent or defaults.agent,
        parent=command.parent,
        mode=command.mode or defaults.mode,
        model=command.model,
        preset=preset,
        total_tokens=total,
        reserve_tokens=reserve,
        shares=policy.shares if command.shares is None else check_shares(command.shares),
        epoch=1 if session is None else session.epoch + 1,
    )
    if session is not None and not session.closed:
        different = _different(session.opened, entry)
        if different:
            raise Conflict(
                f"session {id!r} is open with another {' and '.join(different)}: change it with PATCH, or close it first",
                path=different[0],
            )
        return Decision(session=session, reply=report(session))
    session = evolve(session, entry, id=id)
    return Decision(session=session, reply=report(session), entries=(entry,), created=True)


def _different(opened: Opened, asked: Opened) -> list[str]:
    names = ("agent", "parent", "mode", "model", "preset", "total_tokens", "reserve_tokens", "shares")
    return [name for name in names if getattr(opened, name) != getattr(asked, name)]


def _check_reserve(total: int, reserve: int) -> None:
    if reserve >= total:
        raise Invalid(f"reserve_tokens must be less than the {total} tokens of the window", path="reserve_tokens")


def _change(turn: Turn, command: ChangeSession) -> Report:
    session = turn.session
    total = session.total_tokens if command.total_tokens is None else command.total_tokens
    reserve = session.reserve_tokens if command.reserve_tokens is None else command.reserve_tokens
    _check_reserve(total, reserve)
    shares = None if command.shares is None else check_shares(command.shares)
    entry = Changed(
        time=turn.at,
        host=turn.host,
        total_tokens=command.total_tokens if total != session.total_tokens else None,
        reserve_tokens=command.reserve_tokens if reserve != session.reserve_tokens else None,
        shares=shares if shares != session.shares else None,
        mode=command.mode if command.mode != session.mode else None,
        model=command.model if command.model != session.model else None,
    )
    if entry != Changed(time=turn.at, host=turn.host):
        turn.emit(entry)
    turn.check_targets()
    return report(session)


def _close(turn: Turn, by: Literal["host", "idle"]) -> Report:
    turn.emit(Closed(time=turn.at, host=turn.host, by=by))
    return report(turn.session)


# The archive


def _restore(turn: Turn, command: RestoreItem, archived: Archived | None) -> RestoreReply:
    session = turn.session
    if archived is None:
        raise NotFound(f"item {command.item!r} is not in this session's archive", path="item")
    held = session.find(archived.id)
    tokens = archived.tokens_before
    if held is not None and held.original_tokens is None:
        raise Conflict(f"item {archived.id!r} is in the window as it is: there is nothing to restore", path="item")
    spec = ItemSpec(
        id=archived.id,
        kind=archived.kind,
        tokens=max(1, tokens),
        component=archived.component,
        content=archived.content,
        group=held.group if held is not None else None,
        path=held.path if held is not None else None,
        fingerprint=held.fingerprint if held is not None else None,
    )
    reply = requests.request(turn, RequestAllocation(item=spec, request_id=command.request_id), restored=True)
    return {
        **reply,
        "item": {
            "id": archived.id,
            "kind": archived.kind,
            "component": archived.component,
            "step": archived.step,
            "reason": archived.reason,
            "tokens_before": archived.tokens_before,
            "tokens_after": archived.tokens_after,
            "archived_at": rfc3339(archived.archived_at),
            "content": archived.content,
        },
    }


def _erase(turn: Turn, command: EraseArchive, archived: Archived | None) -> ErasureReply:
    if command.item is not None and archived is None:
        raise NotFound(f"item {command.item!r} is not in this session's archive", path="item")
    turn.emit(ArchiveErased(time=turn.at, host=turn.host, item=command.item))
    return {"item": command.item, "directives": directive_replies(turn.session)}
