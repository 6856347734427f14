"""How entries change a session. Applies, never refuses, decides nothing: a restart runs exactly this.

`evolve` is the only thing that changes a `Session`; `replay` folds a journal's entries through it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from sidecar.budget.directing import cleaned_up, drop_directives, mark, undo
from sidecar.budget.entries import (
    Allocated,
    AnyEntry,
    ArchiveErased,
    BoundExceeded,
    Calibrated,
    Changed,
    CleanedUp,
    Closed,
    Compacted,
    DirectivesConfirmed,
    DirectivesUndone,
    Exhausted,
    ItemCompleted,
    ItemPut,
    ItemRemoved,
    ItemResized,
    ItemTouched,
    Learned,
    LeaseLapsed,
    Noted,
    Opened,
    Released,
    SharesAdjusted,
    TaskCompleted,
    TasksPlanned,
    UsageReported,
    WindowSynced,
)
from sidecar.budget.holding import (
    grant,
    lapse,
    put,
    release,
    remember,
    resize,
    see_call,
    state_usage,
    take_out,
)
from sidecar.budget.lending import lend, recalled
from sidecar.budget.presets import PRESETS
from sidecar.budget.session import (
    REMEMBERED_ARCHIVED,
    REMEMBERED_EVENTS,
    REMEMBERED_TASKS,
    PlannedTask,
    Session,
    above_mark,
    fresh,
    taken,
)

# A fall of the whole window's level by more than this part starts the straight line of the forecast anew.
_FALL = 0.02


def evolve(session: Session | None, entry: AnyEntry, *, id: str) -> Session:
    """Apply an entry to the session it belongs to; an `Opened` makes the session, or a new epoch of it."""
    if isinstance(entry, Opened):
        session = _open(session, entry, id)
    elif session is None:
        raise ValueError(f"the first entry of session {id!r} must open it, not be {entry.type!r}")
    session.version += 1
    if entry.time > session.clock:  # noqa: PLR1730 - asked for each entry; `max` costs three times as much
        session.clock = entry.time
    if entry.host:
        session.host_clock = True
    if entry.event is not None:
        remember(session.events, entry.event, None, REMEMBERED_EVENTS)
    if entry.answered:
        session.answers += 1
    _apply(session, entry)
    return session


def replay(id: str, entries: Iterable[AnyEntry]) -> Session | None:
    """The session that these entries make, from its first; None for none."""
    session: Session | None = None
    for entry in entries:
        session = evolve(session, entry, id=id)
    return session


def _apply(session: Session, entry: AnyEntry) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch per entry, nothing else
    match entry:  # the most frequent first
        case ItemPut():
            put(session, entry)
        case Allocated():
            grant(session, entry)
        case ItemTouched():
            _touch(session, entry)
        case UsageReported():
            state_usage(session, entry)
        case ItemResized():
            resize(session, entry.item, entry.component, entry.tokens)
        case ItemCompleted():
            _complete(session, entry)
        case ItemRemoved():
            _remove(session, entry)
        case CleanedUp():
            _clean(session, entry)
        case BoundExceeded():
            _exceed(session, entry)
        case Exhausted():
            _exhaust(session, entry)
        case Released():
            release(session, entry)
        case LeaseLapsed():
            lapse(session, entry)
        case WindowSynced():
            _sync(session)
        case DirectivesConfirmed():
            drop_directives(session, entry.numbers)
        case DirectivesUndone():
            undo(session, entry)
        case SharesAdjusted():
            _adjust(session, entry)
        case TasksPlanned():
            _plan(session, entry)
        case TaskCompleted():
            _complete_task(session, entry)
        case Changed():
            _change(session, entry)
        case ArchiveErased():
            _erase(session, entry)
        case Closed():
            session.closed = True
        case Calibrated():
            session.calibration = entry.ratio
            session.split(entry.time)
        case Compacted():
            session.compacted = entry.source == "reported"
        case Opened() | Learned() | Noted():
            pass
        case _:
            assert_never(entry)
    rules = session.policy
    if rules.elastic.on or rules.measured_system or session.window_mark is not None:
        _follow(session)
    _sample(session)


def _follow(session: Session) -> None:
    """What the dimensions beyond fixed quotas keep, from how things stand now (SPEC 3.10)."""
    rules = session.policy
    if rules.measured_system and session.taken != taken(session):
        session.split(session.clock)
    if rules.elastic.on:
        lend(session)
    if session.window_mark is not None and not above_mark(session):
        session.window_mark = session.window_due = session.window_due_call = None


def _exceed(session: Session, entry: BoundExceeded) -> None:
    if entry.bound == "window":
        session.window_mark, session.window_due = entry.used_tokens, entry.due
        session.window_due_call = entry.due_call
    else:
        mark(session.components[entry.component], entry.used_tokens, entry.due, entry.due_call)
        recalled(session)


def _open(session: Session | None, entry: Opened, id: str) -> Session:
    policy = PRESETS[entry.preset]
    if session is None:
        return fresh(id, entry, policy)
    anew = fresh(id, entry, policy, version=session.version)
    anew.clock = max(session.clock, entry.time)
    anew.host_clock = session.host_clock
    anew.events = session.events  # a late repetition of an event must not count again in the new epoch
    anew.gone = session.gone
    anew.issued = session.issued
    return anew


def _change(session: Session, entry: Changed) -> None:
    total, budgets = session.total, [held.allocated for held in session.components.values()]
    session.total_tokens = session.total_tokens if entry.total_tokens is None else entry.total_tokens
    session.reserve_tokens = session.reserve_tokens if entry.reserve_tokens is None else entry.reserve_tokens
    session.shares = session.shares if entry.shares is None else dict(entry.shares)
    session.mode = session.mode if entry.mode is None else entry.mode
    if entry.model is not None:
        session.model, session.ratios = entry.model, []  # what another model was billed tells nothing of this one
    session.split(entry.time)
    # Where a budget is smaller now, its bound is crossed anew: what was in vain was so above another.
    if session.total < total:
        session.window_mark = session.window_due = session.window_due_call = session.loan_mark = None
    for held, before in zip(session.components.values(), budgets, strict=True):
        if held.allocated < before:
            held.target_mark = held.budget_mark = None


def _clean(session: Session, entry: CleanedUp) -> None:
    cleaned_up(session, entry)
    recalled(session)
    session.pace.lower(entry.tokens_freed)
    session.components[entry.component].pace.lower(entry.tokens_freed)


def _adjust(session: Session, entry: SharesAdjusted) -> None:
    if entry.trigger == "close":
        return  # the next session's shares: this one's window is gone
    if entry.trigger == "interval":
        session.raised.update(entry.raised)
        session.doubted = list(entry.doubted)
    session.shares = dict(entry.after)
    session.split(entry.time)
    session.adjusted_at = entry.time
    for held in session.components.values():
        held.recent_exhaustions = 0
        held.area = 0.0
        held.since = held.changed_at = entry.time
        held.in_use = held.used > 0


def _exhaust(session: Session, entry: Exhausted) -> None:
    held = session.components[entry.component]
    held.exhaustions += 1
    held.recent_exhaustions += 1


def _touch(session: Session, entry: ItemTouched) -> None:
    item = session.find(entry.item)
    if item is not None:
        item.last_accessed_at = max(item.last_accessed_at, entry.at)
        item.used_call = session.calls


def _complete(session: Session, entry: ItemCompleted) -> None:
    item = session.find(entry.item)
    if item is not None:
        item.completed = True


def _remove(session: Session, entry: ItemRemoved) -> None:
    take_out(session, entry.item, entry.component)
    waiting = session.directed.get(entry.item)
    if waiting:
        drop_directives(session, list(waiting))
    remember(session.gone, entry.item, entry.original_tokens, REMEMBERED_ARCHIVED)


def _sync(session: Session) -> None:
    session.calls += 1
    session.shown = True
    session.unattributed = 0  # the window is everything there is
    see_call(session)


def _erase(session: Session, entry: ArchiveErased) -> None:
    if entry.item is None:
        session.gone.clear()
    else:
        session.gone.pop(entry.item, None)


def _plan(session: Session, entry: TasksPlanned) -> None:
    for task in entry.tasks:
        planned = PlannedTask(
            complexity=task["complexity"],
            prior=dict(task["prior"]),
            predicted=dict(task["predicted"]),
            admitted={name: held.admitted for name, held in session.components.items()},
        )
        remember(session.tasks, task["id"], planned, REMEMBERED_TASKS)
    _expect(session, entry.tasks)


def _complete_task(session: Session, entry: TaskCompleted) -> None:
    session.tasks.pop(entry.task, None)
    _expect(session, ())


def _expect(session: Session, planned: Iterable[Mapping[str, Any]]) -> None:
    """What all planned tasks are still to take in: the newly planned besides, and no more than the open ones need."""
    for name, held in session.components.items():
        more = sum(task["predicted"].get(name, 0) for task in planned)
        most = sum(task.predicted.get(name, 0) for task in session.tasks.values())
        held.planned = held.admitted + min(held.needs + more, most)


def _sample(session: Session) -> None:
    """Keep the points that the forecast's straight line goes through: one per time and call."""
    used = session.used
    if used > session.peak:  # noqa: PLR1730 - as above
        session.peak = used
    samples = session.samples
    if samples:
        at, last, calls = samples[-1]
        if used == last and calls == session.calls:
            return
        if used < last * (1 - _FALL):
            samples.clear()
        elif at == session.clock and calls == session.calls:
            samples.pop()
    elif not used:
        return  # the first tokens fill an empty window; that is no growth to go on with
    samples.append((session.clock, used, session.calls))
