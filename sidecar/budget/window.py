"""Window sync and acknowledgement: how the ledger follows what the host's window really holds (SPEC 3.6, 3.7)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
    _check_through(session, command.through)
    shown, more = _checked(session, command)
    before = session.used
    _settle_directives(turn, shown, command.through)
    # What went comes first: the window never held the old and the new together, and its peak must not say so.
    for held in session.components.values():
        for id in [id for id in held.items if id not in shown]:
            remove(turn, id, reason=GONE)
    known = _known(session)
    for index, window_item in enumerate(command.items):
        item = known.get(window_item.id)
        if item is None:
            if window_item.id not in session.directed:  # else its removal waits for the host
                turn.protected.add(window_item.id)
                hold(
                    turn,
                    _new(turn, window_item, index),
                    claims=window_item.claims,
                    content=window_item.content,
                )
        elif item.tokens != window_item.tokens or (window_item.id in more and _says_anything_new(item, window_item)):
            _follow(turn, item, window_item, index)
    _release_unclaimed(turn)
    total = sum([window_item.tokens for window_item in command.items])
    turn.emit(WindowSynced(time=turn.at, host=turn.host, items=len(shown), tokens=total, through=command.through))
    note_compaction(turn, before)
    turn.settle()
    turn.check_targets()
    return {"report": report(session), "directives": []}


def _checked(session: Session, command: SyncWindow) -> tuple[dict[str, WindowItem], set[str]]:
    """The window by id, and the ids of which it says more than a size.

    `Invalid` before anything is changed: doubles, new items without a kind, and what is wrong with a single item.
    """
    items = command.items
    shown = {item.id: item for item in items}
    if len(shown) < len(items):
        _refuse_double(items)
    known = _known(session)
    strange = {id for id in shown.keys() - known.keys() if shown[id].kind is None and id not in session.directed}
    for index, item in enumerate(items if strange else ()):
        if item.id in strange:
            raise Invalid(
                f"items[{index}].kind is required: item {item.id!r} is new to the ledger", path=f"items[{index}].kind"
            )
    more = _saying_more(items)
    for index, item in more:
        if item.created_at is not None:
            parse_time(item.created_at, path=f"items[{index}].created_at")
        if item.last_accessed_at is not None:
            parse_time(item.last_accessed_at, path=f"items[{index}].last_accessed_at")
        if item.doc_tokens is not None:
            doc_tokens(item.doc_tokens, item.tokens, path=f"items[{index}].doc_tokens")
    return shown, {item.id for _, item in more}


def _refuse_double(items: Sequence[WindowItem]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.id in seen:
            raise Invalid(f"items[{index}].id {item.id!r} is in the window twice", path=f"items[{index}].id")
        seen.add(item.id)


def _saying_more(items: Sequence[WindowItem]) -> list[tuple[int, WindowItem]]:
    """Those that say more than their size. Mostly none do; written out, because this is half the time of a sync."""
    return [
        (index, item)
        for index, item in enumerate(items)
        if item.kind is not None
        or item.component is not None
        or item.created_at is not None
        or item.last_accessed_at is not None
        or item.completed is not None
        or item.pinned is not None
        or item.group is not None
        or item.path is not None
        or item.fingerprint is not None
        or item.full is not None
        or item.doc_tokens is not None
        or item.claims is not None
        or item.content is not None
    ]


def _known(session: Session) -> dict[str, Item]:
    """All items of the session by id: one dictionary, where `find` would look into five for each of thousands."""
    known: dict[str, Item] = {}
    for held in session.components.values():
        known.update(held.items)
    return known


def _settle_directives(turn: Turn, shown: dict[str, WindowItem], through: int) -> None:
    """Directives up to `through`: undone where the window shows the item as it was before, else confirmed."""
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


def _new(turn: Turn, said: WindowItem, index: int) -> Item:
    kind = said.kind
    if kind is None:
        raise AssertionError(f"items[{index}] is new and has no kind, which was checked")
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


def _follow(turn: Turn, item: Item, said: WindowItem, index: int) -> None:
    """An item that the ledger holds already: its size and whatever else the window says of it."""
    changes = _changes(turn, item, said)
    item, tokens = _overtake(turn, item, said.tokens, changed=bool(changes))
    if changes:
        turn.protected.add(item.id)
        again = "fingerprint" in changes  # another text under the same id: put anew
        changed = replace(item, **changes)
        changed.tokens = tokens
        changed.doc_tokens = min(changed.doc_tokens, tokens)
        if again:
            changed.original_tokens = changed.content = None
        if said.last_accessed_at is not None:
            changed.last_accessed_at = max(
                item.last_accessed_at, parse_time(said.last_accessed_at, path=f"items[{index}].last_accessed_at")
            )
        content = said.content if changed.content is None else None
        hold(turn, changed, claims=said.claims, content=content)
        return
    if tokens != item.tokens:
        turn.protected.add(item.id)
        _resize(turn, item, tokens)
    if said.last_accessed_at is not None:
        at = parse_time(said.last_accessed_at, path=f"items[{index}].last_accessed_at")
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


def _says_anything_new(item: Item, said: WindowItem) -> bool:
    """Whether there may be a change besides the size. A host may say everything of all items each time: written out."""
    return not (
        (said.kind is None or said.kind == item.kind)
        and (said.component is None or said.component == item.component)
        and (said.completed is None or said.completed == item.completed)
        and (said.pinned is None or said.pinned == item.pinned)
        and (said.group is None or said.group == item.group)
        and (said.path is None or said.path == item.path)
        and (said.fingerprint is None or said.fingerprint == item.fingerprint)
        and (said.full is None or said.full == item.full)
        and (said.doc_tokens is None or said.doc_tokens == item.doc_tokens)
        and said.created_at is None
        and said.last_accessed_at is None
        and said.claims is None
        and said.content is None
    )


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
