"""What a cleanup does to a session, and how its directives end: confirmed, undone or overtaken (SPEC 3.5, 3.6).

The ledger is ahead of the window: a directive keeps the item as it was, until the host has confirmed what was done.
"""

from collections.abc import Iterable
from itertools import groupby, islice
from operator import attrgetter

import msgspec

from sidecar.budget.cleanup import first_due
from sidecar.budget.entries import Action, CleanedUp, DirectivesUndone
from sidecar.budget.held import Held, integrate, reckon
from sidecar.budget.holding import discard, put_back, remember, resize
from sidecar.budget.items import Item
from sidecar.budget.session import REMEMBERED_ARCHIVED, Directive, Session


def cleaned_up(session: Session, entry: CleanedUp) -> None:
    """A cleanup freed tokens: its actions in order, and where it left the component.

    There may be ten thousand of them: what is accounted for is accounted for once, before the first and after the last.
    """
    session.cleanups += 1
    answer = session.answers if entry.sent else session.answers + 1
    touched = [held for held in session.components.values() if held.items]
    for held in touched:
        integrate(held, session.clock)
    _act(session, entry.actions, answer)
    for held in touched:
        held.unheld = max(held.unheld, -held.item_tokens)
        reckon(held)
    held = session.components[entry.component]
    mark(held, held.used, entry.due, entry.due_call)


def _act(session: Session, actions: Iterable[Action], answer: int) -> None:  # noqa: C901 - in one go, see `cleaned_up`
    directives, directed = session.directives, session.directed
    at, issued = session.clock, session.issued
    for component, of_one in groupby(actions, attrgetter("component")):  # mostly all are of one
        held = session.components[component]
        find, pending, tokens = held.items.get, 0, 0
        for action in of_one:
            id, after, what = action.item, action.tokens_after, action.action
            item = find(id)
            if item is None:
                continue
            if number := action.number:
                issued = number
                directives[number] = Directive(action, at, answer, item.full, item.doc_tokens, None if after else item)
                if id in directed:
                    directed[id].append(number)
                else:
                    directed[id] = [number]
                pending += action.tokens_before - after
            if after:
                before = item.tokens
                tokens += after - before
                item.tokens = after
                if item.original_tokens is None:
                    item.original_tokens = before
                if what == "excerpt":
                    item.doc_tokens -= before - after
                elif item.doc_tokens > after:
                    item.doc_tokens = after
                if what == "summarize":
                    item.full = False
            else:
                discard(session, held, item)
                remember(session.gone, id, action.original_tokens, REMEMBERED_ARCHIVED)
        held.pending += pending
        held.item_tokens += tokens
    session.issued = issued


def mark(held: Held, used: int, due: float | None, due_call: int | None) -> None:
    """Remember the usage at which cleanup ran above a bound, and when an age could next matter (SPEC 3.5)."""
    held.target_mark = used if held.above_target else None
    held.budget_mark = used if used > held.allocated else None
    held.due, held.due_call = due, due_call


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
    last = _last_sent(session)
    for number in numbers:
        _forget(session, number)
    _send_more(session, last)


def _last_sent(session: Session) -> int | None:
    """The newest directive that answers have room for; None: they carry all."""
    limit = session.policy.directives_per_answer
    if len(session.directives) <= limit:
        return None
    return next(islice(session.directives, limit - 1, None))


def _send_more(session: Session, last: int | None) -> None:
    """What answers have room for since others are gone is carried by the next one for the first time."""
    if last is None:
        return
    for directive in islice(session.directives.values(), session.policy.directives_per_answer):
        if directive.number > last:
            directive.answer = session.answers + 1


def undo(session: Session, entry: DirectivesUndone) -> None:
    """Give items back what the host did not take: the newest directive of an item first."""
    last = _last_sent(session)
    for number in sorted(entry.numbers, reverse=True):
        directive = _forget(session, number)
        if directive is None or entry.why == "superseded":
            continue
        item = session.components[directive.component].items.get(directive.item)
        if directive.former is not None:
            if item is None:
                put_back(session, directive.former)
        elif item is not None:
            resize(session, item.id, item.component, directive.tokens_before)
            _unshrink(item, directive)
            held = session.components[item.component]
            first_due(item, held.rules, held.known)
        else:
            _undo_within_later(session, directive)
    _send_more(session, last)


def _unshrink(item: Item, undone: Directive) -> None:
    item.doc_tokens = undone.doc_tokens
    item.full = undone.full
    item.original_tokens = None  # only what was not compressed yet is compressed


def _undo_within_later(session: Session, undone: Directive) -> None:
    """The shrunk item was removed by a later directive that still waits: what that one would bring back grows."""
    for number in session.directed.get(undone.item, ()):
        later = session.directives[number]
        if later.former is not None:
            session.components[later.component].pending += undone.tokens_before - later.tokens_before
            later.action = msgspec.structs.replace(later.action, tokens_before=undone.tokens_before)
            later.former.tokens = undone.tokens_before
            _unshrink(later.former, undone)
