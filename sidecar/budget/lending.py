"""Elastic budgets: what components lend each other, and when a lender needs its own back (SPEC 3.10).

Nothing is booked: a loan is what a component uses beyond its budget, as far as others do not need theirs. So loans end
by themselves when usage falls, and grow short when a lender takes what is its own; then they are called back.
"""

from sidecar.budget.policy import Component
from sidecar.budget.ratio import portion, whole_part
from sidecar.budget.session import Session


def spare(session: Session, *, without: Component | None = None, taking: int = 0) -> int:
    """The tokens that components hold beyond what they use, what planned tasks still need, and the floor.

    `without`: a component left aside; where it is `taking` tokens of its own instead, it counts as it will be then.
    """
    floor = portion(session.policy.elastic.lender_floor)(session.total)
    tokens = 0
    for name, held in session.components.items():
        if held.policy.fixed:
            continue
        keep = held.used + held.needs
        if name == without:
            if not taking:
                continue
            keep = held.used + max(taking, held.needs)
        tokens += max(0, held.allocated - max(keep, floor))
    return tokens


def owed(session: Session) -> int:
    """The tokens that components use beyond their budgets."""
    tokens = 0
    for held in session.components.values():  # written out: each decision asks it several times
        over = held.used - held.allocated
        if over > 0:
            tokens += over
    return tokens


def bound(session: Session) -> int:
    """The level of the whole window up to which requests may borrow: the overall target's upper bound, in tokens."""
    return whole_part(session.policy.overall_target.high, session.total)


def missing(session: Session, component: Component | None = None, tokens: int = 0) -> int:
    """What the lenders lack of their own, once `component` has taken so many tokens of its own budget; 0: nothing.

    Lenders lack what is lent beyond what is spare, and what the window holds beyond the bound of borrowing; but no more
    than was lent.
    """
    lent = owed(session)
    if not lent:
        return 0
    short = lent - spare(session, without=component if tokens else None, taking=tokens)
    return min(lent, max(0, short, session.used + tokens - bound(session)))


def own_room(session: Session, component: Component) -> int:
    """What a request may still take of its component's own budget; at least 0.

    With elastic budgets never more than the whole window has left, for others may have borrowed it. A measured
    component's budget is what it takes, so the whole window's room is its own.
    """
    rules, held = session.policy, session.components[component]
    if rules.measured_system and held.policy.fixed:
        return session.available
    return min(held.available, session.available) if rules.elastic.on else held.available


def room(session: Session, component: Component) -> int:
    """What a request may still take, with what it may borrow; at least 0."""
    own, held = own_room(session, component), session.components[component]
    if not session.policy.elastic.on or held.policy.fixed:
        return own
    lendable = spare(session, without=component) - owed(session)
    return max(own, min(held.available + max(0, lendable), bound(session) - session.used))


def lend(session: Session) -> None:
    """Note who has borrowed how much, the components in the table's order."""
    if not owed(session):
        for held in session.components.values():
            held.borrowed = 0
    else:
        there = spare(session)
        for held in session.components.values():
            held.borrowed = min(held.over, there)
            there -= held.borrowed
    if session.loan_mark is not None and not missing(session):
        session.loan_mark = None


def recalled(session: Session) -> None:
    """A borrower was cleaned up, or could not be: remember what the lenders still lack."""
    if session.policy.elastic.on:
        session.loan_mark = missing(session) or None
