"""Facts: what the host says its window holds. They stand, over budget too (SPEC 3.2)."""

from collections.abc import Sequence
from fractions import Fraction

from sidecar.budget.calibration import calibrate
from sidecar.budget.clock import parse_time
from sidecar.budget.commands import CompactionSpec, CompleteItem, ItemSpec, PutItem, RemoveItem, ReportUsage, TouchItem
from sidecar.budget.entries import (
    Compacted,
    DirectivesConfirmed,
    DirectivesUndone,
    ItemCompleted,
    ItemPut,
    ItemRemoved,
    ItemTouched,
    UsageReported,
)
from sidecar.budget.errors import Invalid, NotFound
from sidecar.budget.items import COMPONENT_OF, Item
from sidecar.budget.policy import COMPONENTS, Component, Step
from sidecar.budget.replies import Acknowledged
from sidecar.budget.session import Directive, Grant, Session
from sidecar.budget.turn import Turn


def answer() -> Acknowledged:
    """What a fact is answered: nothing but the directives that wait, which `decide` fills in."""
    return {"directives": []}


def put_item(turn: Turn, command: PutItem) -> Acknowledged:
    """The window holds this item now."""
    turn.begin()
    turn.protected.add(command.item.id)
    hold(turn, described(turn, command.item), claims=command.item.claims, content=command.item.content)
    turn.settle()
    turn.check_targets()
    return answer()


def described(turn: Turn, spec: ItemSpec) -> Item:
    """The item that a host describes; `Invalid` names what is wrong with it."""
    created, accessed = spec.created_at, spec.last_accessed_at
    return Item(  # by position, as everything that each put makes
        spec.id,
        spec.kind,
        spec.component or COMPONENT_OF[spec.kind],
        spec.tokens,
        turn.at if created is None else parse_time(created, path="item.created_at"),
        turn.at if accessed is None else parse_time(accessed, path="item.last_accessed_at"),
        spec.completed,
        spec.pinned,
        spec.full,
        doc_tokens(spec.doc_tokens, spec.tokens, path="item.doc_tokens"),
        spec.group,
        spec.path,
        spec.fingerprint,
    )


def put(turn: Turn, spec: ItemSpec, item: Item, *, granted: bool = False, restored: bool = False) -> None:
    """Make an item held, new or changed; a directive that still waits for it is overtaken."""
    hold(turn, item, claims=spec.claims, content=spec.content, granted=granted, restored=restored)


def doc_tokens(part: int, whole: int, *, path: str) -> int:
    """The documentation's part of an item; `Invalid` if it is larger than the item."""
    if part > whole:
        raise Invalid(f"{path} must not be more than the item's {whole} tokens", path=path)
    return part


def hold(
    turn: Turn,
    item: Item,
    *,
    claims: str | None = None,
    content: str | None = None,
    granted: bool = False,
    restored: bool = False,
) -> None:
    """Emit that the window holds this item."""
    session = turn.session
    if item.id in session.directed:
        supersede(turn, session.directed[item.id])
    before = session.components[item.component].items.get(item.id) or session.find(item.id)
    grant = session.grants.get(claims) if claims is not None else None
    if content is not None and turn.store_content:
        item.content = session.version + 1
        turn.contents[item.content] = content
    turn.emit(
        ItemPut(
            time=turn.at,
            host=turn.host,
            item=item,
            new=before is None,
            claims=claims if grant is not None else None,
            claimed=0 if grant is None else claimable(session, grant),
            readmitted=item.tokens if before is None and item.id in session.gone else 0,
            granted=granted,
            restored=restored,
            replaces=before is not None and (before.content not in (None, item.content) or session.epoch > 1),
        )
    )


def claimable(session: Session, grant: Grant) -> int:
    """The tokens of a grant that are still there for an item to take over."""
    return min(grant.tokens, max(0, session.components[grant.component].unheld))


def supersede(turn: Turn, numbers: Sequence[int]) -> None:
    """The host did something else with the item: directives for it are void."""
    if numbers:
        turn.emit(DirectivesUndone(time=turn.at, host=turn.host, numbers=tuple(numbers), why="superseded"))


def confirm(turn: Turn, directives: Sequence[Directive]) -> int:
    """The host applied these; returns the tokens they freed."""
    if not directives:
        return 0
    tokens: dict[Component, dict[Step, int]] = {}
    for each in directives:
        steps = tokens.setdefault(each.component, {})
        steps[each.step] = steps.get(each.step, 0) + each.tokens_before - each.tokens_after
    turn.emit(
        DirectivesConfirmed(
            time=turn.at,
            host=turn.host,
            numbers=tuple(each.number for each in directives),
            tokens=tokens,
        )
    )
    return sum(sum(steps.values()) for steps in tokens.values())


def held_item(session: Session, id: str) -> Item:
    """The item, or `NotFound`."""
    item = session.find(id)
    if item is None:
        raise NotFound(f"item {id!r} is not held by this session", path="item")
    return item


def touch_item(turn: Turn, command: TouchItem) -> Acknowledged:
    """The item was used now."""
    item = held_item(turn.session, command.item)
    if item.last_accessed_at < turn.at or (
        item.used_call < turn.session.calls and turn.session.policy.cleanup.counts_calls
    ):
        turn.emit(ItemTouched(time=turn.at, host=turn.host, item=item.id, at=turn.at))
    turn.protected.add(item.id)
    turn.check_targets()
    return answer()


def complete_item(turn: Turn, command: CompleteItem) -> Acknowledged:
    """The item is finished."""
    item = held_item(turn.session, command.item)
    if not item.completed:
        turn.emit(ItemCompleted(time=turn.at, host=turn.host, item=item.id))
    turn.protected.add(item.id)
    turn.check_targets()
    return answer()


def remove_item(turn: Turn, command: RemoveItem) -> Acknowledged:
    """The host took the item out; where a directive asked for just that, it is confirmed."""
    session = turn.session
    if session.find(command.item) is None:
        asked = [session.directives[number] for number in session.directed.get(command.item, ())]
        if not asked:
            held_item(session, command.item)
        confirm(turn, asked)
    else:
        remove(turn, command.item, reason="removed by the host")
    turn.check_targets()
    return answer()


def remove(turn: Turn, id: str, *, reason: str) -> None:
    """Emit that an item left the window by the host's doing."""
    item = held_item(turn.session, id)
    turn.emit(
        ItemRemoved(
            time=turn.at,
            host=turn.host,
            item=item.id,
            kind=item.kind,
            component=item.component,
            tokens=item.tokens,
            original_tokens=item.tokens if item.original_tokens is None else item.original_tokens,
            reason=reason,
            content=item.content,
        )
    )


def report_usage(turn: Turn, command: ReportUsage) -> Acknowledged:
    """Set the levels: what exceeds a component's items is held by none, what exceeds the components unattributed."""
    turn.begin()
    compaction = command.compaction
    if command.components is None and command.total is None:
        if compaction is not None:
            _compacted(turn, compaction)
            return answer()
        raise Invalid("components or total is required: a usage report states at least one level", path="components")
    session = turn.session
    before, settled = session.used, not session.compacted
    unheld = {
        name: tokens - session.components[name].item_tokens for name, tokens in (command.components or {}).items()
    }
    unattributed = session.unattributed
    if command.total is not None:
        attributed = _attributed(session, unheld)
        unattributed = max(0, command.total - attributed)
        if session.policy.calibrate.on and session.mode == "managed":
            if compaction is None:
                calibrate(turn, command.total, attributed)
            unattributed = max(0, int(command.total / session.calibration) - attributed - session.pending)
        if session.mode == "observed" and attributed > command.total:
            unheld = _scaled(session, unheld, command.total)
    turn.emit(
        UsageReported(
            time=turn.at,
            host=turn.host,
            source=command.source,
            components=command.components,
            total=command.total,
            unheld=unheld,
            unattributed_tokens=unattributed,
            call=compaction is None,
        )
    )
    if compaction is not None:
        _compacted(turn, compaction)
    elif settled:
        note_compaction(turn, before)
    turn.settle()
    turn.check_targets()
    return answer()


def _compacted(turn: Turn, told: CompactionSpec) -> None:
    turn.emit(
        Compacted(
            time=turn.at,
            host=turn.host,
            tokens_before=told.tokens_before,
            tokens_after=told.tokens_after,
            source="reported",
        )
    )


def note_compaction(turn: Turn, before: int) -> None:
    """Record a fall of an observed window from the level `before`, where it is more than noise (SPEC 1)."""
    session = turn.session
    after = session.used
    if session.mode == "observed" and 0 < before - after >= session.policy.compaction_drop * before:
        turn.emit(Compacted(time=turn.at, host=turn.host, tokens_before=before, tokens_after=after, source="inferred"))


def _attributed(session: Session, unheld: dict[Component, int]) -> int:
    tokens = 0
    for name, held in session.components.items():  # written out: each report asks it
        here = held.item_tokens + (unheld.get(name, held.unheld) if unheld else held.unheld)
        if here > 0:
            tokens += here
    return tokens


def _scaled(session: Session, unheld: dict[Component, int], total: int) -> dict[Component, int]:
    """The components, in proportion, brought down to a billed total: nobody said which of them shrank."""
    levels = {
        name: max(0, session.components[name].item_tokens + unheld.get(name, session.components[name].unheld))
        for name in COMPONENTS
    }
    whole = sum(levels.values())
    exact = {name: Fraction(level * total, whole) for name, level in levels.items()}
    scaled = {name: int(part) for name, part in exact.items()}
    rest = total - sum(scaled.values())
    for name in sorted(COMPONENTS, key=lambda each: scaled[each] - exact[each])[:rest]:
        scaled[name] += 1
    return {name: tokens - session.components[name].item_tokens for name, tokens in scaled.items()}
