"""Whether a cleanup pays for what it costs: the provider's prompt cache behind the first thing it touches (SPEC 3.10).

A provider keeps a prompt up to where it last stayed the same, and reads that at a fraction of the price. Whatever
stands behind the first removed or shrunk item must be read afresh once. What was freed is not read again at all, in
each call still to come. `CleanupPolicy.minimum_gain` is where the second outweighs the first.
"""

from collections.abc import Sequence

from sidecar.budget.cleanup import CleanupRun
from sidecar.budget.session import Session


def pays(session: Session, runs: Sequence[CleanupRun]) -> bool:
    """Whether runs planned together free enough, their stubs taken off; items in the order in which they came."""
    rules = session.policy.cleanup
    if not rules.minimum_gain:
        return True
    left: dict[str, int] = {}
    freed = 0
    for run in runs:
        freed += run.tokens_freed
        left.update((action.item, action.tokens_after) for action in run.actions)
    freed -= rules.stub_tokens * sum(not tokens for tokens in left.values())
    return freed >= rules.minimum_gain * lost(session, left)


def lost(session: Session, left: dict[str, int]) -> int:
    """The tokens that fall out of the prompt cache if items are left with these: all from the first of them on."""
    items = [item for held in session.components.values() for item in held.items.values()]
    first = min((item.place for item in items if item.id in left), default=None)
    if first is None:
        return 0
    return sum(left.get(item.id, item.tokens) for item in items if item.place >= first)
