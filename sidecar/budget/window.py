"""Window sync and acknowledgement: how the ledger follows what the host's window really holds (SPEC 3.6, 3.7)."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from sidecar.budget.clock import parse_time
from sidecar.budget.commands import Acknowledge, SyncWindow, WindowItem
from sidecar.budget.entries import DirectivesUndone, ItemResized, ItemTouched, Released, WindowSynced
from sidecar.budget.errors import Invalid
from sidecar.budget.facts import confirm, doc_tokens, hold, note_compaction, remove, supersede
from sidecar.budget.items import COMPONENT_OF, Item
from sidecar.budget.replies import AcknowledgeReply, WindowReply
from sidecar.budget.report import report
from sidecar.budget.session import Directive, Session
from sidecar.budget.turn import Turn

GONE = "not in the host's window any more"


def acknowledge(turn: Turn, command: Acknowledge) -> AcknowledgeReply:
    """Directives up to `through` are confirmed but for those that failed, whose items return to the ledger."""
    session = turn.session
    turn.begin()
    _check_through(session, command.through)
    reasons = {}
    for index, failure in enumerate(command.failed):
        if failure.number > session.issued:
            raise Invalid(
                f"failed[{index}].number must be a directive that was sent: the highest is {session.issued}",
                path=f"failed[{index}].number",
            )
        if failure.number in session.directives:
            reasons[failure.number] = failure.reason
    applied = [
        each for number, each in session.directives.items() if number <= command.through and number not in reasons
    ]
    if reasons:
        turn.emit(
            DirectivesUndone(
                time=turn.at,
                host=turn.host,
                numbers=tuple(reasons),
                why="failed",
                reasons={str(number): text for number, text in reasons.items()},
            )
        )
    tokens = confirm(turn, applied)
    for id, size in command.sizes.items():
        item = session.find(id)
        if item is not None:
            _resize(turn, item, size)
    turn.settle()
    turn.check_targets()
    return {
        "confirmed": len(applied),
        "failed": len(reasons),
        "confirmed_tokens": tokens,
        "directives": [],
    }


def _check_through(session: Session, through: int) -> None:
    if through > session.issued:
        raise Invalid(f"through must be a directive that was sent: the highest is {session.issued}", path="through")


def _resize(turn: Turn, item: Item, tokens: int) -> None:
    if tokens != item.tokens:
        turn.emit(
            ItemResized(
                time=turn.at,
                host=turn.host,
                item=item.id,
                component=item.component,
                tokens_before=item.tokens,
                tokens=tokens,
            )
        )


def sync_window(turn: Turn, command: SyncWindow) -> WindowReply:
    """The ledger takes the difference between what it holds and the whole next prompt."""
    session = turn.session
    turn.begin()
    items = command.items
    _check_through(session, command.through)
    gone, differing = _compare(session, items)
    _check(session, items, differing)
    before = session.used
    if _settle_directives(turn, items, command.through):
        gone, differing = _compare(session, items)  # what was undone is held again
    # What went comes first: the window never held the old and the new together, and its peak must not say so.
    for id in gone:
        remove(turn, id, reason=GONE)
    for window_item, item in differing:
        if item is not None:
            _follow(turn, item, window_item)
        elif window_item.id not in session.directed:  # else its removal waits for the host
            turn.protected.add(window_item.id)
            hold(turn, _new(turn, window_item), claims=window_item.claims, content=window_item.content)
    _release_unclaimed(turn)
    total = sum([window_item.tokens for window_item in items])
    turn.emit(WindowSynced(time=turn.at, host=turn.host, items=len(items), tokens=total, through=command.through))
    note_compaction(turn, before)
    turn.settle()
    turn.check_targets()
    return {"report": report(session), "directives": []}


Differing: TypeAlias = tuple[WindowItem, Item | None]


def _compare(session: Session, items: Sequence[WindowItem]) -> tuple[list[str], list[Differing]]:
    """The ids that the window shows no more, and what it shows otherwise than it is held: with the item that is held.

    Each shown item is taken from those held: what is left is gone, and one shown twice is strange the second time. All
    in one pass, and written out: of thousands of items most are as they were, and each look at one costs.
    """
    held: dict[str, Item | None] = {}
    for each in session.components.values():
        held.update(each.items)
    take = held.pop
    differing = [
        (said, item)
        for said in items
        if (item := take(said.id, None)) is None
        or said.tokens != item.tokens
        or (said.kind is not None and said.kind != item.kind)
        or (said.component is not None and said.component != item.component)
        or (said.completed is not None and said.completed != item.completed)
        or (said.pinned is not None and said.pinned != item.pinned)
        or (said.group is not None and said.group != item.group)
        or (said.path is not None and said.path != item.path)
        or (said.fingerprint is not None and said.fingerprint != item.fingerprint)
        or (said.full is not None and said.full != item.full)
        or (said.doc_tokens is not None and said.doc_tokens != item.doc_tokens)
        or said.created_at is not None
        or said.last_accessed_at is not None
        or said.claims is not None
        or said.content is not None
    ]
    return list(held), differing


def _check(session: Session, items: Sequence[WindowItem], differing: Sequence[Differing]) -> None:
    """`Invalid` before anything is changed: doubles, new items without a kind, and what is wrong with a single item."""
    strange = [said.id for said, item in differing if item is None]
    if len(set(strange)) < len(strange) or any(session.find(id) for id in strange):
        _refuse_double(items)
    places: dict[str, int] = {}

    def path(said: WindowItem, field: str) -> str:
        if not places:
            places.update((each.id, index) for index, each in enumerate(items))
        return f"items[{places[said.id]}].{field}"

    for said, item in differing:
        if item is None and said.kind is None and said.id not in session.directed:
            where = path(said, "kind")
            raise Invalid(f"{where} is required: item {said.id!r} is new to the ledger", path=where)
    for said, _ in differing:
        if said.created_at is not None:
            parse_time(said.created_at, path=path(said, "created_at"))
        if said.last_accessed_at is not None:
            parse_time(said.last_accessed_at, path=path(said, "last_accessed_at"))
        if said.doc_tokens is not None:
            doc_tokens(said.doc_tokens, said.tokens, path=path(said, "doc_tokens"))


def _refuse_double(items: Sequence[WindowItem]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.id in seen:
            raise Invalid(f"items[{index}].id {item.id!r} is in the window twice", path=f"items[{index}].id")
        seen.add(item.id)


def _settle_directives(turn: Turn, items: Sequence[WindowItem], through: int) -> bool:
    """Directives up to `through`: undone where the window shows the item as it was before, else confirmed.

    Returns whether any was undone, which changes what is held.
    """
    if next(iter(turn.session.directives), through + 1) > through:
        return False
    shown = {item.id: item for item in items}
    applied: list[Directive] = []
    undone: list[int] = []
    for number, directive in turn.session.directives.items():
        if number > through:
            break
        window_item = shown.get(directive.item)
        if directive.tokens_after == 0:
            happened = window_item is None
        else:
            happened = window_item is None or window_item.tokens < directive.tokens_before
        if happened:
            applied.append(directive)
        else:
            undone.append(number)
    if undone:
        turn.emit(DirectivesUndone(time=turn.at, host=turn.host, numbers=tuple(undone), why="shown"))
    confirm(turn, applied)
    return bool(undone)


def _new(turn: Turn, said: WindowItem) -> Item:
    kind = said.kind
    if kind is None:
        raise AssertionError(f"item {said.id!r} is new and has no kind, which was checked")
    return Item(
        id=said.id,
        kind=kind,
        component=said.component or COMPONENT_OF[kind],
        tokens=said.tokens,
        created_at=turn.at if said.created_at is None else parse_time(said.created_at, path="items"),
        last_accessed_at=turn.at if said.last_accessed_at is None else parse_time(said.last_accessed_at, path="items"),
        completed=bool(said.completed),
        pinned=bool(said.pinned),
        full=bool(said.full),
        doc_tokens=said.doc_tokens or 0,
        group=said.group,
        path=said.path,
        fingerprint=said.fingerprint,
    )


def _follow(turn: Turn, item: Item, said: WindowItem) -> None:
    """An item that the ledger holds already: its size and whatever else the window says of it."""
    changes = _changes(turn, item, said)
    item, tokens = _overtake(turn, item, said.tokens, changed=bool(changes))
    if changes:
        turn.protected.add(item.id)
        again = "fingerprint" in changes  # another text under the same id: put anew
        changed = msgspec.structs.replace(item, **changes)
        changed.tokens = tokens
        changed.doc_tokens = min(changed.doc_tokens, tokens)
        if again:
            changed.original_tokens = changed.content = None
        if said.last_accessed_at is not None:
            changed.last_accessed_at = max(item.last_accessed_at, parse_time(said.last_accessed_at, path="items"))
        content = said.content if changed.content is None else None
        hold(turn, changed, claims=said.claims, content=content)
        return
    if tokens != item.tokens:
        turn.protected.add(item.id)
        _resize(turn, item, tokens)
    if said.last_accessed_at is not None:
        at = parse_time(said.last_accessed_at, path="items")
        if at > item.last_accessed_at:
            turn.emit(ItemTouched(time=turn.at, host=turn.host, item=item.id, at=at))


def _overtake(turn: Turn, item: Item, tokens: int, *, changed: bool) -> tuple[Item, int]:
    """What a shown size says of the directives that wait for an item: the item then, and the size to hold it at."""
    session = turn.session
    waiting = session.directed.get(item.id)
    if not waiting:
        return item, tokens
    former = session.directives[waiting[0]].tokens_before
    if tokens == item.tokens:
        return item, tokens
    if tokens != former:
        supersede(turn, list(waiting))
    elif changed:  # the item as it was, and more said of it: a put, which no directive outlives
        turn.emit(DirectivesUndone(time=turn.at, host=turn.host, numbers=tuple(waiting), why="shown"))
    else:
        tokens = item.tokens  # the host has not come to the directive yet: it stays pending
    return item, tokens


def _changes(turn: Turn, item: Item, said: WindowItem) -> dict[str, Any]:
    """What the window says of an item that differs from what the ledger holds, size and access time left out.

    A claim or a first content are a change of nothing in the item, but a put all the same.
    """
    changes: dict[str, Any] = {}
    for name in ("component", "completed", "pinned", "group", "path", "fingerprint"):
        value = getattr(said, name)
        if value is not None and value != getattr(item, name):
            changes[name] = value
    if said.kind is not None and said.kind != item.kind:
        changes["kind"] = said.kind
        changes.setdefault("component", said.component or COMPONENT_OF[said.kind])
    if item.original_tokens is None:  # what compression has taken from an item, the host need not know
        for name in ("full", "doc_tokens"):
            value = getattr(said, name)
            if value is not None and value != getattr(item, name):
                changes[name] = value
    if said.created_at is not None and parse_time(said.created_at, path="items") != item.created_at:
        changes["created_at"] = parse_time(said.created_at, path="items")
    if said.claims is not None and said.claims in turn.session.grants:
        changes.setdefault("kind", item.kind)
    if said.content is not None and turn.store_content and item.content is None and item.original_tokens is None:
        changes.setdefault("kind", item.kind)
    return changes


def _release_unclaimed(turn: Turn) -> None:
    """The window is everything there is: tokens that no item of it holds are gone, but for leases that still run."""
    session = turn.session
    leased: dict[str, int] = {}
    for grant in session.grants.values():
        if grant.lease_until is not None:
            leased[grant.component] = leased.get(grant.component, 0) + grant.tokens
    for name, held in session.components.items():
        tokens = held.unheld - leased.get(name, 0)
        if tokens > 0 or held.unheld < 0:
            turn.emit(Released(time=turn.at, host=turn.host, component=name, tokens=tokens, by="sync"))
