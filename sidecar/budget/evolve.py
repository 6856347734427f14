"""How entries change a session. Applies, never refuses, decides nothing: a restart runs exactly this.

`evolve` is the only thing that changes a `Session`; `replay` folds a journal's entries through it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, assert_never

from sidecar.budget.cleanup import first_due
from sidecar.budget.entries import (
    Action,
    Allocated,
    AnyEntry,
    ArchiveErased,
    BoundExceeded,
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
from sidecar.budget.items import Item
from sidecar.budget.policy import PRESETS, Component
from sidecar.budget.session import (
    REMEMBERED_ARCHIVED,
    REMEMBERED_EVENTS,
    REMEMBERED_REQUESTS,
    REMEMBERED_TASKS,
    Directive,
    Grant,
    Held,
    PlannedTask,
    Session,
    fresh,
    integrate,
    unmark,
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
    session.clock = max(session.clock, entry.time)
    session.host_clock = session.host_clock or entry.host
    if entry.event is not None:
        _remember(session.events, entry.event, None, REMEMBERED_EVENTS)
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


def _apply(session: Session, entry: AnyEntry) -> None:  # noqa: C901, PLR0912 - one branch per entry, nothing else
    match entry:
        case Allocated():
            _allocated(session, entry)
        case ItemPut():
            _put(session, entry)
        case ItemResized():
            _resize(session, entry.item, entry.component, entry.tokens)
        case ItemTouched():
            item = session.find(entry.item)
            if item is not None:
                item.last_accessed_at = max(item.last_accessed_at, entry.at)
        case ItemCompleted():
            item = session.find(entry.item)
            if item is not None:
                item.completed = True
        case ItemRemoved():
            _take_out(session, entry.item, entry.component)
            _drop_directives(session, list(session.directed.get(entry.item, ())))
            _remember(session.gone, entry.item, entry.original_tokens, REMEMBERED_ARCHIVED)
        case CleanedUp():
            _cleaned_up(session, entry)
        case BoundExceeded():
            _mark(session.components[entry.component], entry.used_tokens, entry.due)
        case Exhausted():
            held = session.components[entry.component]
            held.exhaustions += 1
            held.recent_exhaustions += 1
        case Released():
            _add_unheld(session, entry.component, -entry.tokens)
            if entry.by == "sync":
                _forget_grants(session, entry.component)
        case LeaseLapsed():
            session.grants.pop(entry.request_id, None)
            _add_unheld(session, entry.component, -entry.tokens)
            _next_lapse(session)
        case UsageReported():
            _usage(session, entry)
        case WindowSynced():
            session.calls += 1
        case DirectivesConfirmed():
            _drop_directives(session, entry.numbers)
        case DirectivesUndone():
            _undo(session, entry)
        case SharesAdjusted():
            _adjust(session, entry)
        case TasksPlanned():
            for task in entry.tasks:
                planned = PlannedTask(
                    complexity=task["complexity"],
                    prior=dict(task["prior"]),
                    predicted=dict(task["predicted"]),
                    admitted={name: held.admitted for name, held in session.components.items()},
                )
                _remember(session.tasks, task["id"], planned, REMEMBERED_TASKS)
        case TaskCompleted():
            session.tasks.pop(entry.task, None)
        case Changed():
            _change(session, entry)
        case ArchiveErased():
            if entry.item is None:
                session.gone.clear()
            else:
                session.gone.pop(entry.item, None)
        case Closed():
            session.closed = True
        case Opened() | Compacted() | Noted():
            pass
        case _:
            assert_never(entry)
    _sample(session)


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
    session.total_tokens = session.total_tokens if entry.total_tokens is None else entry.total_tokens
    session.reserve_tokens = session.reserve_tokens if entry.reserve_tokens is None else entry.reserve_tokens
    session.shares = session.shares if entry.shares is None else dict(entry.shares)
    session.mode = session.mode if entry.mode is None else entry.mode
    session.model = session.model if entry.model is None else entry.model
    session.split(entry.time)


def _adjust(session: Session, entry: SharesAdjusted) -> None:
    session.shares = dict(entry.after)
    session.split(entry.time)
    session.adjusted_at = entry.time
    for held in session.components.values():
        held.recent_exhaustions = 0
        held.area = 0.0
        held.since = held.changed_at = entry.time
        held.in_use = held.used > 0


# Tokens that no item holds


def _add_unheld(session: Session, component: Component, tokens: int) -> None:
    held = session.components[component]
    integrate(held, session.clock)
    held.unheld = max(held.unheld + tokens, -held.item_tokens)
    unmark(held)


def _allocated(session: Session, entry: Allocated) -> None:
    if entry.request_id is not None:
        _remember(session.requests, entry.request_id, entry, REMEMBERED_REQUESTS)
    if entry.item is not None or not entry.granted:
        return
    _add_unheld(session, entry.component, entry.granted)
    session.components[entry.component].admitted += entry.granted
    if entry.request_id is not None:
        session.grants[entry.request_id] = Grant(
            component=entry.component, tokens=entry.granted, lease_until=entry.lease_until
        )
        if entry.lease_until is None and len(session.grants) > REMEMBERED_REQUESTS:
            oldest = next((key for key, grant in session.grants.items() if grant.lease_until is None), None)
            if oldest is not None:
                del session.grants[oldest]  # its tokens stay; only the claim by name is forgotten
        if entry.lease_until is not None and (session.next_lapse is None or entry.lease_until < session.next_lapse):
            session.next_lapse = entry.lease_until


def _next_lapse(session: Session) -> None:
    leases = [grant.lease_until for grant in session.grants.values() if grant.lease_until is not None]
    session.next_lapse = min(leases, default=None)


def _forget_grants(session: Session, component: Component) -> None:
    for key in [k for k, g in session.grants.items() if g.component == component and g.lease_until is None]:
        del session.grants[key]


def _usage(session: Session, entry: UsageReported) -> None:
    for name, unheld in entry.unheld.items():
        held = session.components[name]
        integrate(held, entry.time)
        held.admitted += max(0, unheld - held.unheld)
        held.unheld = max(unheld, -held.item_tokens)
        unmark(held)
    session.unattributed = entry.unattributed_tokens
    session.source = entry.source
    if entry.total is not None:
        session.calls += 1
        counted = session.attributed
        if session.mode == "managed" and counted:
            session.provider_ratio = entry.total / counted


# Items


def _put(session: Session, entry: ItemPut) -> None:
    item = replace(entry.item)  # the entry keeps its own: what is held changes
    held = session.components[item.component]
    before = session.find(item.id)
    if before is not None:
        admitted = max(0, item.tokens - before.tokens)
        if before.component == item.component:
            integrate(held, session.clock)
            held.item_tokens -= before.tokens
            if before.group is not None and before.group != item.group:
                _leave_group(session, before)
        else:
            _take_out(session, item.id, before.component)
    else:
        admitted = item.tokens
    integrate(held, session.clock)
    held.items[item.id] = item
    held.item_tokens += item.tokens
    held.admitted += admitted
    if item.group is not None:
        session.groups.setdefault(item.group, {})[item.id] = None
    _due(held, item)
    if entry.claims is not None:
        grant = session.grants.pop(entry.claims, None)
        if grant is not None:
            _add_unheld(session, grant.component, -entry.claimed)
            if grant.lease_until is not None:
                _next_lapse(session)
    session.gone.pop(item.id, None)
    unmark(held)


def _due(held: Held, item: Item) -> None:
    due = first_due(item, held.rules)
    if due is not None and (held.due is None or due < held.due):
        held.due = due


def _resize(session: Session, id: str, component: Component, tokens: int) -> None:
    held = session.components[component]
    item = held.items.get(id)
    if item is None:
        return
    integrate(held, session.clock)
    held.admitted += max(0, tokens - item.tokens)
    held.item_tokens += tokens - item.tokens
    item.tokens = tokens
    item.doc_tokens = min(item.doc_tokens, tokens)
    held.unheld = max(held.unheld, -held.item_tokens)
    unmark(held)


def _take_out(session: Session, id: str, component: Component) -> Item | None:
    held = session.components[component]
    item = held.items.get(id)
    if item is None:
        return None
    integrate(held, session.clock)
    del held.items[id]
    held.item_tokens -= item.tokens
    held.unheld = max(held.unheld, -held.item_tokens)
    _leave_group(session, item)
    unmark(held)
    return item


def _leave_group(session: Session, item: Item) -> None:
    if item.group is not None:
        members = session.groups.get(item.group)
        if members is not None:
            members.pop(item.id, None)
            if not members:
                del session.groups[item.group]


def _put_back(session: Session, item: Item) -> None:
    held = session.components[item.component]
    integrate(held, session.clock)
    held.items[item.id] = item
    held.item_tokens += item.tokens
    if item.group is not None:
        session.groups.setdefault(item.group, {})[item.id] = None
    _due(held, item)
    session.gone.pop(item.id, None)
    unmark(held)


# Cleanup and its directives


def _cleaned_up(session: Session, entry: CleanedUp) -> None:
    session.cleanups += 1
    for action in entry.actions:
        _act(session, action)
    held = session.components[entry.component]
    _mark(held, held.used, entry.due)


def _act(session: Session, action: Action) -> None:
    held = session.components[action.component]
    item = held.items.get(action.item)
    if item is None:
        return
    if action.tokens_after == 0:
        former = item
        _take_out(session, item.id, item.component)
        _remember(session.gone, item.id, action.original_tokens, REMEMBERED_ARCHIVED)
    else:
        former = replace(item) if action.number else item
        integrate(held, session.clock)
        held.item_tokens += action.tokens_after - item.tokens
        held.unheld = max(held.unheld, -held.item_tokens)
        _shrink(item, action)
        unmark(held)
    if action.number:
        session.issued = action.number
        session.directives[action.number] = Directive(
            number=action.number,
            action=action.action,
            step=action.step,
            item=action.item,
            component=action.component,
            tokens_before=action.tokens_before,
            tokens_after=action.tokens_after,
            sent_at=session.clock,
            answer=session.answers,
            former=former,
        )
        session.directed.setdefault(action.item, []).append(action.number)
        held.pending += action.tokens_before - action.tokens_after


def _shrink(item: Item, action: Action) -> None:
    if item.original_tokens is None:
        item.original_tokens = item.tokens
    if action.action == "excerpt":
        item.doc_tokens -= item.tokens - action.tokens_after
    elif action.action == "summarize":
        item.full = False
        item.doc_tokens = min(item.doc_tokens, action.tokens_after)
    else:
        item.doc_tokens = min(item.doc_tokens, action.tokens_after)
    item.tokens = action.tokens_after


def _mark(held: Held, used: int, due: float | None) -> None:
    held.target_mark = used if held.above_target else None
    held.budget_mark = used if used > held.allocated else None
    held.due = due


def _forget(session: Session, number: int) -> Directive | None:
    directive = session.directives.pop(number, None)
    if directive is None:
        return None
    numbers = session.directed[directive.item]
    numbers.remove(number)
    if not numbers:
        del session.directed[directive.item]
    session.components[directive.component].pending -= directive.tokens_before - directive.tokens_after
    return directive


def _drop_directives(session: Session, numbers: Iterable[int]) -> None:
    for number in numbers:
        _forget(session, number)


def _undo(session: Session, entry: DirectivesUndone) -> None:
    """Give items back what the host did not take: the newest directive of an item first."""
    for number in sorted(entry.numbers, reverse=True):
        directive = _forget(session, number)
        if directive is None or entry.why == "superseded":
            continue
        item = session.components[directive.component].items.get(directive.item)
        if directive.tokens_after == 0:
            if item is None:
                _put_back(session, directive.former)
        elif item is not None:
            _resize(session, item.id, item.component, directive.former.tokens)
            _unshrink(item, directive.former)
        else:
            _undo_within_later(session, directive)


def _unshrink(item: Item, former: Item) -> None:
    item.doc_tokens = former.doc_tokens
    item.full = former.full
    item.original_tokens = former.original_tokens


def _undo_within_later(session: Session, undone: Directive) -> None:
    """The shrunk item was removed by a later directive that still waits: what that one would bring back grows."""
    for number in session.directed.get(undone.item, ()):
        later = session.directives[number]
        if later.tokens_after == 0:
            session.components[later.component].pending += undone.former.tokens - later.tokens_before
            later.tokens_before = undone.former.tokens
            later.former = undone.former


def _sample(session: Session) -> None:
    """Keep the points that the forecast's straight line goes through: one per time and call."""
    used = session.used
    session.peak = max(session.peak, used)
    samples = session.samples
    if samples:
        at, last, calls = samples[-1]
        if used == last and calls == session.calls:
            return
        if used < last * (1 - _FALL):
            samples.clear()
        elif at == session.clock and calls == session.calls:
            samples.pop()
    samples.append((session.clock, used, session.calls))


def _remember(memory: dict[str, Any], key: str, value: Any, limit: int) -> None:
    """Remember the newest `limit` keys; the oldest is forgotten."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > limit:
        del memory[next(iter(memory))]
