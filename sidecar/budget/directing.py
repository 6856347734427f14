"""What a cleanup does to a session, and how its directives end: confirmed, undone or overtaken (SPEC 3.5, 3.6).

The ledger is ahead of the window: a directive keeps the item as it was, until the host has confirmed what was done.
"""

from collections.abc import Iterable
from dataclasses import replace

from sidecar.budget.entries import Action, CleanedUp, DirectivesUndone
from sidecar.budget.holding import put_back, remember, resize, take_out
from sidecar.budget.items import Item
from sidecar.budget.session import REMEMBERED_ARCHIVED, Directive, Held, Session, integrate, reckon


def cleaned_up(session: Session, entry: CleanedUp) -> None:
    """A cleanup freed tokens: its actions in order, and where it left the component."""
    session.cleanups += 1
    for action in entry.actions:
        _act(session, action)
    held = session.components[entry.component]
    mark(held, held.used, entry.due)


def _act(session: Session, action: Action) -> None:
    held = session.components[action.component]
    item = held.items.get(action.item)
    if item is None:
        return
    if action.tokens_after == 0:
        former = item
        take_out(session, item.id, item.component)
        remember(session.gone, item.id, action.original_tokens, REMEMBERED_ARCHIVED)
    else:
        former = replace(item) if action.number else item
        integrate(held, session.clock)
        held.item_tokens += action.tokens_after - item.tokens
        held.unheld = max(held.unheld, -held.item_tokens)
        _shrink(item, action)
        reckon(held)
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


def mark(held: Held, used: int, due: float | None) -> None:
    """Remember the usage at which cleanup ran above a bound, and when an age could next matter (SPEC 3.5)."""
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


def drop_directives(session: Session, numbers: Iterable[int]) -> None:
    """These directives wait no longer; the ledger stays as it is."""
    for number in numbers:
        _forget(session, number)


def undo(session: Session, entry: DirectivesUndone) -> None:
    """Give items back what the host did not take: the newest directive of an item first."""
    for number in sorted(entry.numbers, reverse=True):
        directive = _forget(session, number)
        if directive is None or entry.why == "superseded":
            continue
        item = session.components[directive.component].items.get(directive.item)
        if directive.tokens_after == 0:
            if item is None:
                put_back(session, directive.former)
        elif item is not None:
            resize(session, item.id, item.component, directive.former.tokens)
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
