"""What one component of the window holds, and the sums that are kept of it.

Sums are kept, never recomputed over the items: `reckon` says what follows from them each time that they have changed,
after `integrate` has accounted for how things stood until then.
"""

from dataclasses import dataclass, field

from sidecar.budget.items import Item
from sidecar.budget.known import Known
from sidecar.budget.pace import Pace
from sidecar.budget.policy import ComponentPolicy, Policy, Status


@dataclass(slots=True, kw_only=True)
class Held:
    """What one component of the window holds. Sizes in tokens.

    `unheld` are tokens that belong to no item: grants, and what the host's own totals say beyond its items (negative
    where they say less). `target_mark` and `budget_mark` remember the usage at which cleanup last ran above that bound
    (None: not above it), `due` when an age could next matter, `due_call` the same in model calls. `borrowed` is what it
    uses beyond its budget and the others lend it, `planned` what it will have admitted when the planned tasks have
    taken in all that was predicted. `area` integrates utilization over time since `since`.
    `known` is no state, but spares looks at all items (budget/known.py).
    `used` (at least 0), `utilization` (above 1 when facts went over the budget, 0 of 0 is 0) and `above_target` follow
    from the sums; `reckon` keeps them, because a decision reads them many times and changes them once.
    """

    policy: ComponentPolicy
    rules: Policy
    items: dict[str, Item] = field(default_factory=dict)
    item_tokens: int = 0
    unheld: int = 0
    allocated: int = 0
    used: int = 0
    utilization: float = 0.0
    above_target: bool = False
    borrowed: int = 0
    pending: int = 0
    admitted: int = 0
    exhaustions: int = 0
    recent_exhaustions: int = 0
    pace: Pace = field(default_factory=Pace)
    target_mark: int | None = None
    budget_mark: int | None = None
    due: float | None = None
    due_call: int | None = None
    planned: int = 0
    area: float = 0.0
    since: float = 0.0
    changed_at: float = 0.0
    in_use: bool = False
    known: Known = field(default_factory=Known)

    @property
    def available(self) -> int:
        """What is left of the budget, at least 0."""
        left = self.allocated - self.used
        return left if left > 0 else 0  # noqa: FURB136 - read in each decision; `max` costs three times as much

    @property
    def over(self) -> int:
        """What is used beyond the budget, at least 0."""
        return max(0, self.used - self.allocated)

    @property
    def needs(self) -> int:
        """What planned tasks are still expected to take in, at least 0."""
        return max(0, self.planned - self.admitted)

    @property
    def status(self) -> Status:
        """The word for the utilization."""
        return self.rules.status(self.utilization)

    def average(self, now: float) -> float:
        """Time-weighted average utilization since the last share adjustment."""
        span = now - self.since
        if span <= 0:
            return self.utilization
        return (self.area + self.utilization * (now - self.changed_at)) / span


def ratio(used: int, total: int) -> float:
    """Utilization: 0 of 0 is 0, something of nothing counts whole tokens over a budget of one."""
    if total > 0:
        return used / total
    return float(used)


def integrate(held: Held, now: float) -> None:
    """Account for the utilization that stood until now; call before it changes."""
    if now > held.changed_at:
        held.area += held.utilization * (now - held.changed_at)
        held.changed_at = now


def reckon(held: Held) -> None:
    """What follows from the sums, and from marks of bounds no longer exceeded; call after usage or budget changed."""
    used = held.item_tokens + held.unheld
    if used > 0:
        held.in_use = True
    else:
        used = 0
    held.used = used
    held.utilization = ratio(used, held.allocated)
    held.above_target = held.utilization > held.policy.target.high
    if held.budget_mark is not None and used <= held.allocated:
        held.budget_mark = None
    if held.target_mark is not None and not held.above_target:
        held.target_mark = None
