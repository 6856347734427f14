"""Cleanup beyond one component: the whole window's marks, loans called back, and room for a request (SPEC 3.10)."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sidecar.budget.cleanup import CleanupRun
from sidecar.budget.entries import Action, BoundExceeded
from sidecar.budget.lending import bound, missing, own_room, room
from sidecar.budget.policy import Component
from sidecar.budget.ratio import portion, whole_part
from sidecar.budget.session import Session, above_mark

if TYPE_CHECKING:
    from sidecar.budget.turn import Turn


def clean_window(turn: "Turn") -> None:
    """Above the upper mark, clean component after component up until the whole window is down at the lower one.

    What would not pay waits while the window is inside its overall target.
    """
    session = turn.session
    if not above_mark(session) or not _is_due(turn):
        return
    reduce = session.used - whole_part(session.policy.window.lower, session.total)
    planned: list[CleanupRun] = []
    done: list[Action] = []
    stub = session.policy.cleanup.stub_tokens
    for component in _in_order(turn, session.components):
        run = turn.plan(component, "target", reduce=reduce, done=done)
        planned.append(run)
        done += run.actions
        reduce -= run.tokens_freed - stub * sum(not each.tokens_after for each in run.actions)
        if reduce <= 0:
            break
    if not planned:
        return  # a policy without any steps
    acting = [run for run in planned if run.actions] or planned[:1]
    if session.used > bound(session) or turn.pays(acting):
        for run in acting:
            turn.carry_out(run)
    if above_mark(session):
        turn.emit(
            BoundExceeded(
                time=turn.at,
                host=turn.host,
                component=planned[0].component,
                bound="window",
                used_tokens=session.used,
                due=min((run.due for run in planned if run.due is not None), default=None),
                due_call=min((run.due_call for run in planned if run.due_call is not None), default=None),
            )
        )


def _is_due(turn: "Turn") -> bool:
    """Whether a window that stays above its upper mark is to be cleaned up again (SPEC 3.5)."""
    session = turn.session
    if session.window_mark is None or session.window_mark <= bound(session) < session.used:
        return True  # what could wait inside the overall target no longer can
    growth = portion(session.policy.cleanup.rerun_growth)(session.total)
    return 0 < session.used - session.window_mark >= growth or turn.is_due(session.window_due, session.window_due_call)


def _in_order(turn: "Turn", names: Iterable[Component]) -> list[Component]:
    """Those of the components that can be cleaned up, in the order of the policy; alike ones in the order given."""
    session, parts = turn.session, turn.session.components
    names = [name for name in names if parts[name].policy.steps]
    if len(names) < 2:  # noqa: PLR2004 - nothing to order, which may take a look at all items
        return names
    if session.policy.window.order == "worst":
        return sorted(names, key=lambda name: -parts[name].utilization)
    begun = turn.stopwatch()
    ordered = sorted(names, key=lambda name: -(session.reclaimable(name) or 0))
    turn.cleaning += turn.stopwatch() - begun
    return ordered


def call_back(turn: "Turn") -> None:
    """Clean up who has borrowed what a lender now needs, worst first; again only when clearly more is missing."""
    session = turn.session
    short = missing(session)
    if not short:
        return
    growth = portion(session.policy.cleanup.rerun_growth)(session.total)
    if session.loan_mark is not None and short - session.loan_mark < growth:
        return
    for component in _borrowers(turn):
        if short := missing(session):
            turn.clean_bound(component, "allocation", reduce=short)


def _borrowers(turn: "Turn", without: Component | None = None) -> Iterator[Component]:
    """Who uses more than its own and was not cleaned up yet for this command, worst first."""
    parts, cleaned = turn.session.components, turn.cleaned
    for name in _in_order(turn, [name for name, held in parts.items() if held.over and name not in cleaned]):
        if name != without and parts[name].over and name not in cleaned:  # the cleanup before it may have sufficed
            yield name


def make_room(turn: "Turn", component: Component, need: int) -> CleanupRun | None:
    """Clean up for a request that does not fit: its own component, then who has borrowed, then all others.

    Nobody is cleaned up for what no window could hold, nor the others for what they could not make fit. Returns the
    cleanup that answers for it; None where none ran.
    """
    session = turn.session
    rules, held = session.policy, session.components[component]
    if not rules.elastic.on and rules.window.upper is None:
        return turn.clean(component, "allocation", pending=need)
    if need > session.total:
        return None
    runs = len(turn.runs)
    if need > held.available and held.policy.steps:
        _clean_own(turn, component, need)
    for name in _borrowers(turn, without=component):
        if short := _short(session, component, need):
            turn.carry_out(turn.plan(name, "allocation", reduce=min(short, session.components[name].over)))
    if rules.window.upper is not None:
        _clean_others(turn, need - room(session, component))
    return turn.runs[runs] if len(turn.runs) > runs else None


def _clean_own(turn: "Turn", component: Component, need: int) -> None:
    """The component's own cleanup; while loans cover what is asked it may wait, and is not repeated.

    Where the whole window is cleaned up by its marks, nothing goes before that for what can be lent.
    """
    session = turn.session
    held = session.components[component]
    covered = need <= room(session, component)
    if covered and (held.budget_mark is not None or session.policy.window.upper is not None):
        return
    run = turn.plan(component, "allocation", pending=need)
    if not covered or not run.actions or turn.pays((run,)):
        turn.carry_out(run)


def _clean_others(turn: "Turn", short: int) -> None:
    """Free so many tokens where nothing was cleaned up yet, if that much can be freed at all."""
    if short <= 0:
        return
    left = [name for name in turn.session.components if name not in turn.cleaned]
    if short > sum(turn.session.components[name].item_tokens for name in left):
        return  # nor is there so much: no need to look at the items
    planned: list[CleanupRun] = []
    done: list[Action] = []
    for name in _in_order(turn, left):
        if short <= 0:
            break
        run = turn.plan(name, "allocation", reduce=short, done=done)
        planned.append(run)
        done += run.actions
        short -= run.tokens_freed
    if short <= 0:
        for run in planned:
            if run.actions:
                turn.carry_out(run)


def _short(session: Session, component: Component, need: int) -> int:
    """What is missing for a request, or for lenders once it is granted from its component's own."""
    short = max(0, need - room(session, component))
    if need <= own_room(session, component):
        short = max(short, missing(session, component, need))
    return short
