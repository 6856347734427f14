"""A session: one context window, as its entries have made it.

Mutable and owned by the ledger; everybody else only reads it. It is changed by `evolve` alone. Sums are kept, never
recomputed over the items, so reading a level costs the same with ten items and with ten thousand.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

import msgspec

from sidecar.budget.allocation import split, split_beside
from sidecar.budget.cleanup import known_empty, reclaimable
from sidecar.budget.commands import Source
from sidecar.budget.entries import Action, Allocated, Opened
from sidecar.budget.held import Held, integrate, ratio, reckon
from sidecar.budget.items import Item
from sidecar.budget.outlook import forecast, time_left
from sidecar.budget.pace import USUAL, USUAL_PARTS, Pace
from sidecar.budget.policy import COMPONENTS, Component, Mode, Policy, Status, Step
from sidecar.budget.ratio import is_over
from sidecar.budget.replies import Forecast

# How many ids a session remembers, so that its memory is bounded. A repetition from before that is a new command.
REMEMBERED_EVENTS = 8_192
REMEMBERED_REQUESTS = 1_024
REMEMBERED_ARCHIVED = 4_096
REMEMBERED_TASKS = 1_024
SAMPLES = 32


class Directive(msgspec.Struct, gc=False):
    """An action that the agent has not confirmed yet, and what brings its item back, should it not be applied.

    `answer` counts among the session's answers: the first that carried it. `former` is the removed item; where it was
    only shrunk, `full` and `doc_tokens` are as they were before. A cleanup makes a directive for each of its actions,
    so it refers to the action instead of repeating it, and is made as that is.
    """

    action: Action
    sent_at: float
    answer: int
    full: bool = False
    doc_tokens: int = 0
    former: Item | None = None

    @property
    def number(self) -> int:
        """Its number in the session, from 1."""
        return self.action.number

    @property
    def step(self) -> Step:
        """The step of the cleanup that made it."""
        return self.action.step

    @property
    def item(self) -> str:
        """The id of the item that it is about."""
        return self.action.item

    @property
    def component(self) -> Component:
        """Whose tokens it frees."""
        return self.action.component

    @property
    def tokens_before(self) -> int:
        """The item's size before."""
        return self.action.tokens_before

    @property
    def tokens_after(self) -> int:
        """The size that it is to have; 0: it is to be removed."""
        return self.action.tokens_after


@dataclass(slots=True)
class Grant:
    """Tokens granted to a request that no item has claimed; `lease_until` is when they lapse (None: never)."""

    component: Component
    tokens: int
    lease_until: float | None = None


@dataclass(slots=True, kw_only=True)
class PlannedTask:
    """A task whose needs were predicted; `admitted` is what each component had taken in by then."""

    complexity: str
    prior: dict[Component, int]
    predicted: dict[Component, int]
    admitted: dict[Component, int]


@dataclass(slots=True, kw_only=True)
class Session:
    """One context window of one agent (SPEC 2). `clock` is session time, seconds since the epoch."""

    id: str
    opened: Opened
    policy: Policy
    agent: str
    parent: str | None
    mode: Mode
    model: str | None
    epoch: int
    version: int = 0
    clock: float = 0.0
    host_clock: bool = False
    closed: bool = False
    total_tokens: int = 0
    reserve_tokens: int = 0
    shares: dict[Component, float] = field(default_factory=dict)
    components: dict[Component, Held] = field(default_factory=dict)
    groups: dict[str, dict[str, None]] = field(default_factory=dict)
    unattributed: int = 0
    source: Source = "exact"
    provider_ratio: float | None = None
    directives: dict[int, Directive] = field(default_factory=dict)
    directed: dict[str, list[int]] = field(default_factory=dict)  # pending directives' numbers by item
    issued: int = 0  # the highest directive number given out
    answers: int = 0  # answers that carried directives
    events: dict[str, None] = field(default_factory=dict)
    requests: dict[str, Allocated] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    next_lapse: float | None = None
    gone: dict[str, int] = field(default_factory=dict)  # archived and out of the window: first size by item
    tasks: dict[str, PlannedTask] = field(default_factory=dict)
    calls: int = 0
    shown: bool = False  # the last model call was a window sync, and what it was billed may still be reported
    placed: int = 0  # the place of the newest item in the prompt
    taken: dict[Component, int] = field(default_factory=dict)  # by fixed components, as the split has them measured
    calibration: float = 1.0  # provider tokens for each counted one, by which the total is divided
    ratios: list[float] = field(default_factory=list)  # what the last billed calls say of that
    window_mark: int | None = None  # the usage at which the whole window was last cleaned up in vain
    window_due: float | None = None
    window_due_call: int | None = None
    loan_mark: int | None = None  # what was missing when loans were last called back in vain
    peak: int = 0
    cleanups: int = 0
    samples: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    pace: Pace = field(default_factory=Pace)
    raised: dict[Component, bool] = field(default_factory=dict)  # as in entries.SharesAdjusted
    doubted: list[Component] = field(default_factory=list)
    adjusted_at: float = 0.0
    compacted: bool = False  # the host reported a compaction, and no model call has shown the new level yet
    measured: tuple[int, dict[Component, int | None]] | None = None  # reclaimable tokens, as of a version

    @property
    def total(self) -> int:
        """The window after the reserve, in the host's own tokens: what the components share.

        Nobody counts in an observed session: what is seen there are the provider's tokens.
        """
        total = self.total_tokens - self.reserve_tokens
        if self.calibration == 1 or self.mode == "observed":
            return total
        return int(total / self.calibration)

    @property
    def believed_ratio(self) -> float | None:
        """Provider tokens for each counted one: that by which the total is divided, else the last call's."""
        divides = self.policy.calibrate.on and self.mode == "managed" and (self.ratios or self.calibration != 1)
        return self.calibration if divides else self.provider_ratio

    @property
    def told_ratio(self) -> float | None:
        """What the session tells of its model's ratio; None where no call told any (as in an observed one)."""
        rules = self.policy.calibrate
        if rules.on or not self.ratios:
            return self.calibration if self.ratios else None
        return min(max(median(self.ratios), rules.low), rules.high)

    @property
    def used(self) -> int:
        """Tokens in the whole window: the components and what belongs to none of them."""
        used = self.unattributed
        for held in self.components.values():
            used += held.used
        return used

    @property
    def attributed(self) -> int:
        """Tokens in the components."""
        return self.used - self.unattributed

    @property
    def available(self) -> int:
        """What is left of the whole window, at least 0."""
        return max(0, self.total - self.used)

    @property
    def utilization(self) -> float:
        """The whole window's used over total."""
        return ratio(self.used, self.total)

    @property
    def status(self) -> Status:
        """The word for the whole window's utilization."""
        return self.policy.status(self.utilization)

    @property
    def pending(self) -> int:
        """Tokens freed on the ledger that the agent has not confirmed."""
        return sum(held.pending for held in self.components.values())

    @property
    def exhaustions(self) -> int:
        """Exhaustions of all components so far."""
        return sum(held.exhaustions for held in self.components.values())

    @property
    def drifted(self) -> bool:
        """Whether the oldest pending directive was sent in vain for too long (SPEC 3.6)."""
        for directive in self.directives.values():
            return self.answers - directive.answer + 1 >= self.policy.drifted_after
        return False

    def find(self, item: str) -> Item | None:
        """The item held under this id."""
        for held in self.components.values():
            found = held.items.get(item)
            if found is not None:
                return found
        return None

    def forecast(self) -> Forecast:
        """What the latest growth comes to."""
        return forecast(
            samples=self.samples,
            available=self.available,
            window=(self.used, self.total, self.pace),
            components={name: (held.used, held.allocated, held.pace) for name, held in self.components.items()},
        )

    def time_left(self) -> Forecast:
        """Time to exhaustion alone."""
        return time_left(samples=self.samples, available=self.available, pace=self.pace)

    def reclaimable(self, component: Component) -> int | None:
        """What a manual cleanup would free now; None where the items are unknown. Cached until the next entry."""
        if self.measured is None or self.measured[0] != self.version:
            self.measured = (self.version, {})
        known = self.measured[1]
        if component not in known:
            held = self.components[component]
            if held.items:
                known[component] = reclaimable(
                    component,
                    items={name: each.items for name, each in self.components.items()},
                    groups=self.groups,
                    policy=self.policy,
                    now=self.clock,
                    used=held.used,
                    allocated=held.allocated,
                    call=self.calls,
                    known=held.known,
                )
            else:
                known[component] = None if self.mode == "observed" and held.used else 0
        return known[component]

    def split(self, now: float) -> None:
        """Give each component its budget: the exact split of what is left after the reserve."""
        if self.policy.measured_system:
            self.taken = taken(self)
            parts = split_beside(self.total, self.shares, self.taken)
        else:
            parts = split(self.total, self.shares)
        for name, tokens in parts.items():
            held = self.components[name]
            integrate(held, now)
            held.allocated = tokens
            reckon(held)


def above_mark(session: Session) -> bool:
    """Whether the whole window stands above the mark from which on it is cleaned up."""
    upper = session.policy.window.upper
    return upper is not None and is_over(session.used, session.total, upper)


def taken(session: Session) -> dict[Component, int]:
    """What the fixed components really take, those that take nothing yet left out."""
    return {name: held.used for name, held in session.components.items() if held.policy.fixed and held.used}


def fresh(id: str, opened: Opened, policy: Policy, *, version: int = 0) -> Session:
    """A session as its `opened` entry makes it."""
    usual = USUAL if opened.call_growth is None else opened.call_growth
    session = Session(
        id=id,
        opened=opened,
        policy=policy,
        agent=opened.agent,
        parent=opened.parent,
        mode=opened.mode,
        model=opened.model,
        epoch=opened.epoch,
        version=version,
        clock=opened.time,
        total_tokens=opened.total_tokens,
        reserve_tokens=opened.reserve_tokens,
        shares=dict(opened.shares),
        components={
            name: Held(
                policy=policy.components[name],
                rules=policy,
                since=opened.time,
                changed_at=opened.time,
                pace=Pace(usual=usual * USUAL_PARTS[name]),
                known=known_empty(policy.components[name].steps),
            )
            for name in COMPONENTS
        },
        pace=Pace(usual=usual),
        adjusted_at=opened.time,
    )
    if policy.calibrate.on and opened.provider_ratio is not None:
        session.calibration = min(max(opened.provider_ratio, policy.calibrate.low), policy.calibrate.high)
    session.split(opened.time)
    return session


_DERIVED = {"known", "measured", "policy", "rules"}  # caches, and what the preset's name stands for


def state_of(session: Session | None) -> Any:
    """All that a restart must rebuild, as plain comparable data: the left and right side of the restart law."""
    return _plain(session)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in _DERIVED}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict) or hasattr(value, "items"):
        return [(key, _plain(each)) for key, each in value.items()]
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Iterable):
        return [_plain(each) for each in value]
    return value
