"""What the window holds, as entries change it: items, and the tokens that no item holds.

The sums of SPEC 3.2 are kept here and nowhere else: whatever adds, takes or resizes first accounts for the utilization
that stood until then, and afterwards forgets the marks of bounds that are no longer exceeded.
"""

from itertools import islice
from typing import Any

from sidecar.budget.cleanup import first_due, first_due_call
from sidecar.budget.entries import Allocated, ItemPut, LeaseLapsed, Released, UsageReported
from sidecar.budget.held import Held, integrate, reckon
from sidecar.budget.items import Item
from sidecar.budget.policy import Component
from sidecar.budget.session import REMEMBERED_REQUESTS, Grant, Session

_AT_ONCE = 8  # how many of the oldest are forgotten together

# Items


def put(session: Session, entry: ItemPut) -> None:
    """The window holds an item, new or changed; it takes over the tokens of the grant that it claims."""
    item = entry.item.__copy__()  # the entry keeps its own: what is held changes
    held = session.components[item.component]
    before = held.items.get(item.id) or session.find(item.id)
    integrate(held, session.clock)
    if before is not None:
        admitted = max(0, item.tokens - before.tokens)
        if before.component == item.component:
            held.item_tokens -= before.tokens
            if before.group is not None and before.group != item.group:
                _leave_group(session, before)
        else:
            take_out(session, item.id, before.component)
    else:
        admitted = item.tokens
    _place(session, item, before)
    held.items[item.id] = item
    held.item_tokens += item.tokens
    held.admitted += admitted
    if held.known.kinds is not None:
        held.known.kinds.add(item.kind)
    held.unheld = max(held.unheld, -held.item_tokens)
    if item.group is not None:
        session.groups.setdefault(item.group, {})[item.id] = None
    _due(held, item)
    if entry.claims is not None:
        claimed = session.grants.pop(entry.claims, None)
        if claimed is not None:
            add_unheld(session, claimed.component, -entry.claimed)
            _find_next_lapse(session)
    session.gone.pop(item.id, None)
    reckon(held)


def _place(session: Session, item: Item, before: Item | None) -> None:
    """Note what follows from when it came: its place in the prompt, and the model calls so far."""
    item.used_call = session.calls
    if before is None:
        session.placed += 1
        item.place = session.placed
        item.created_call = session.calls
    else:
        item.place = before.place
        item.created_call = before.created_call if before.created_at == item.created_at else session.calls


def resize(session: Session, id: str, component: Component, tokens: int) -> None:
    """An item has another size."""
    held = session.components[component]
    item = held.items.get(id)
    if item is None:
        return
    integrate(held, session.clock)
    held.admitted += max(0, tokens - item.tokens)
    held.item_tokens += tokens - item.tokens
    item.tokens = tokens
    item.doc_tokens = min(item.doc_tokens, tokens)
    first_due(item, held.rules, held.known)  # it may be large enough now for what passes over small ones
    held.unheld = max(held.unheld, -held.item_tokens)
    reckon(held)


def take_out(session: Session, id: str, component: Component) -> Item | None:
    """Take an item out of the window; None if it is not in it."""
    held = session.components[component]
    item = held.items.get(id)
    if item is None:
        return None
    integrate(held, session.clock)
    discard(session, held, item)
    held.unheld = max(held.unheld, -held.item_tokens)
    reckon(held)
    return item


def discard(session: Session, held: Held, item: Item) -> None:
    """The item is held no longer; accounting for that is left to the caller."""
    del held.items[item.id]
    held.item_tokens -= item.tokens
    if item.group is not None:
        _leave_group(session, item)


def put_back(session: Session, item: Item) -> None:
    """Give an item back as it was taken out: nothing new came into the window."""
    held = session.components[item.component]
    integrate(held, session.clock)
    held.items[item.id] = item
    held.item_tokens += item.tokens
    if item.group is not None:
        session.groups.setdefault(item.group, {})[item.id] = None
    _due(held, item)
    session.gone.pop(item.id, None)
    reckon(held)


def _leave_group(session: Session, item: Item) -> None:
    if item.group is not None:
        members = session.groups.get(item.group)
        if members is not None:
            members.pop(item.id, None)
            if not members:
                del session.groups[item.group]


def _due(held: Held, item: Item) -> None:
    due = first_due(item, held.rules, held.known)
    if due is not None and (held.due is None or due < held.due):
        held.due = due
    call = first_due_call(item, held.rules)
    if call is not None and (held.due_call is None or call < held.due_call):
        held.due_call = call


# Tokens that no item holds


def add_unheld(session: Session, component: Component, tokens: int) -> None:
    """Tokens (negative: fewer) that belong to no item; a component never holds less than nothing."""
    held = session.components[component]
    integrate(held, session.clock)
    held.unheld = max(held.unheld + tokens, -held.item_tokens)
    reckon(held)


def grant(session: Session, entry: Allocated) -> None:
    """A request was decided: what it was granted belongs to no item until one claims it."""
    if entry.request_id is not None:
        remember(session.requests, entry.request_id, entry, REMEMBERED_REQUESTS)
    if entry.item is not None or not entry.granted:
        return
    add_unheld(session, entry.component, entry.granted)
    session.components[entry.component].admitted += entry.granted
    if entry.request_id is None:
        return
    until = entry.lease_until
    session.grants[entry.request_id] = Grant(entry.component, entry.granted, until)
    if until is not None:
        session.next_lapse = until if session.next_lapse is None else min(session.next_lapse, until)
    elif len(session.grants) > REMEMBERED_REQUESTS:
        lasting = (key for key, each in session.grants.items() if each.lease_until is None)
        for key in list(islice(lasting, _AT_ONCE)):
            del session.grants[key]  # its tokens stay; only the claim by name is forgotten


def release(session: Session, entry: Released) -> None:
    """Tokens went; a grant keeps none that are not there any more, or its lease would free them a second time."""
    add_unheld(session, entry.component, -entry.tokens)
    own = [(key, each) for key, each in session.grants.items() if each.component == entry.component]
    if entry.by == "sync":
        for key, each in own:
            if each.lease_until is None:
                del session.grants[key]
        return
    missing = sum(each.tokens for _, each in own) - max(0, session.components[entry.component].unheld)
    for key, each in own:
        if missing <= 0:
            break
        less = min(missing, each.tokens)
        missing -= less
        each.tokens -= less
        if not each.tokens:
            del session.grants[key]
    _find_next_lapse(session)


def lapse(session: Session, entry: LeaseLapsed) -> None:
    """A lease ran out."""
    session.grants.pop(entry.request_id, None)
    add_unheld(session, entry.component, -entry.tokens)
    _find_next_lapse(session)


def _find_next_lapse(session: Session) -> None:
    if session.next_lapse is not None:
        leases = [each.lease_until for each in session.grants.values() if each.lease_until is not None]
        session.next_lapse = min(leases, default=None)


def state_usage(session: Session, entry: UsageReported) -> None:
    """The host stated levels: what they leave for no item, and for no component."""
    for name, unheld in entry.unheld.items():
        held = session.components[name]
        integrate(held, session.clock)
        held.admitted += max(0, unheld - held.unheld)
        held.unheld = max(unheld, -held.item_tokens)
        reckon(held)
    session.unattributed = entry.unattributed_tokens
    session.source = entry.source
    if entry.total is not None and entry.call:
        session.compacted = False
        counted = session.attributed
        if session.mode == "managed" and counted and entry.total:
            session.provider_ratio = entry.total / counted
            remember_ratio(session, entry.total)
        if session.shown:  # the call's window was synced before it: now only its bill has come
            session.shown = False
        else:
            session.calls += 1
            see_call(session)


def remember_ratio(session: Session, total: int) -> None:
    """Keep what a billed call says of the ratio: the total is divided by that, or at least the profile learns it."""
    told = billed_ratio(session, total, session.attributed)
    if told is not None:
        session.ratios = [*session.ratios, told][-session.policy.calibrate.calls :]


def billed_ratio(session: Session, total: int, counted: int) -> float | None:
    """Provider tokens for each counted one as a call tells it; None if it cannot be believed.

    While directives wait, nobody knows whether the prompt that was billed still held what they take away. And a prompt
    may hold more than what is counted, but not less: a bill below the least ratio leaves out what was cached, say.
    """
    rules = session.policy.calibrate
    if counted < rules.least_tokens or total < rules.low * counted or (session.pending and session.ratios):
        return None
    return total / counted


def see_call(session: Session) -> None:
    """A model call saw the window as it is now."""
    session.pace.see(session.used)
    for held in session.components.values():
        held.pace.see(held.used)


def remember(memory: dict[str, Any], key: str, value: Any, limit: int) -> None:
    """Remember the newest keys, at most `limit`: beyond that a few of the oldest are forgotten.

    Several at once, because a dictionary whose first key goes each time looks through ever more holes for the next one;
    and no more, because a decision waits for it.
    """
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > limit:
        for old in list(islice(memory, _AT_ONCE)):
            del memory[old]
