"""What became true: the append-only facts of the ledger.

Everything that is shown, counted or restored derives from entries, and `evolve` applies them without deciding anything,
so an entry carries all that a restart needs. Times are seconds since the epoch on the session's clock, sizes tokens.
A field's default is what it is when left out of the journal; a new field therefore always needs one.

No entry is ever changed once its turn has emitted it. They are no dataclasses, because these take four times as long to
make, and an allocation is hardly more than its entry; nor does the garbage collector look at them, who are in no cycle.
"""

from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import field
from typing_extensions import override

from sidecar.budget import items
from sidecar.budget.commands import Source
from sidecar.budget.items import Item, Kind
from sidecar.budget.policy import Component, Mode, Step

Trigger: TypeAlias = Literal["allocation", "target", "prediction", "manual"]
TRIGGERS: tuple[Trigger, ...] = ("allocation", "target", "prediction", "manual")
Outcome: TypeAlias = Literal["full", "after_cleanup", "partial", "denied", "borrowed"]
OUTCOMES: tuple[Outcome, ...] = ("full", "after_cleanup", "partial", "denied", "borrowed")
ActionName: TypeAlias = Literal["compress", "summarize", "excerpt", "unload", "evict", "archive", "remove"]


class Entry(msgspec.Struct, kw_only=True, gc=False):
    """What every entry says.

    `host`: the time was the host's own. `event`: the id of the command that caused it, on its first entry.
    `answered`: the command's answer carried directives, on its first entry.
    """

    type: ClassVar[str]

    time: float
    host: bool = False
    event: str | None = None
    answered: bool = False


class Opened(Entry, kw_only=True, gc=False):
    """A session began, or began anew (`epoch` above 1), with every default filled in.

    `own_shares`: the host gave the shares. `call_growth` and `provider_ratio`: what is known of the agent
    (budget/profile.py), and the session begins with.
    """

    type = "opened"

    agent: str
    parent: str | None = None
    mode: Mode
    model: str | None = None
    preset: str
    total_tokens: int
    reserve_tokens: int = 0
    shares: Mapping[Component, float]
    epoch: int = 1
    own_shares: bool = False
    call_growth: float | None = None
    provider_ratio: float | None = None


class Changed(Entry, kw_only=True, gc=False):
    """The host changed the session; None is unchanged."""

    type = "changed"

    total_tokens: int | None = None
    reserve_tokens: int | None = None
    shares: Mapping[Component, float] | None = None
    mode: Mode | None = None
    model: str | None = None


class Exhausted(Entry, kw_only=True, gc=False):
    """A request, or a fact, did not fit the component's budget before cleanup. `tokens` did not fit `available`."""

    type = "exhausted"

    component: Component
    by: Literal["request", "fact"]
    tokens: int
    available_tokens: int


class Allocated(Entry, kw_only=True, gc=False):
    """A request was decided. `digest` recognizes the same request; `lease_until` is when an unclaimed grant lapses."""

    type = "allocated"

    component: Component
    requested: int
    granted: int
    outcome: Outcome
    available_tokens: int
    item: str | None = None
    request_id: str | None = None
    digest: str | None = None
    lease_until: float | None = None
    cleanup: Mapping[str, Any] | None = None  # replies.Cleanup without its directives


class LeaseLapsed(Entry, kw_only=True, gc=False):
    """Nothing claimed the grant in time: its tokens are free again."""

    type = "lease_lapsed"

    request_id: str
    component: Component
    tokens: int


class Released(Entry, kw_only=True, gc=False):
    """Tokens that no item held were given back by the host, or found gone by a window sync."""

    type = "released"

    component: Component
    tokens: int
    by: Literal["host", "sync"] = "host"


class ItemPut(Entry, kw_only=True, gc=False):
    """The window holds this item, new or changed. `claimed`: tokens taken over from the grant of request `claims`.

    `readmitted`: its size, if it had been archived before. `granted`: it came in by a request, not as a fact.
    `replaces`: a content of the item may have to be forgotten now; that is for the journal to do, not to remember.
    """

    type = "item_put"

    item: Item
    new: bool = True
    claims: str | None = None
    claimed: int = 0
    readmitted: int = 0
    granted: bool = False
    restored: bool = False
    replaces: bool = True

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both say the same, but for what is derived."""
        return type(other) is ItemPut and _said_of_put(self) == _said_of_put(other)

    __hash__ = None  # type: ignore[assignment]


DERIVED = items.DERIVED | {"replaces"}  # fields that are not written down
_said_of_put = attrgetter(*[name for name in ItemPut.__struct_fields__ if name not in DERIVED])


class ItemResized(Entry, kw_only=True, gc=False):
    """A window sync or an acknowledgement showed another size."""

    type = "item_resized"

    item: str
    component: Component
    tokens_before: int
    tokens: int


class ItemTouched(Entry, kw_only=True, gc=False):
    """The item was used."""

    type = "item_touched"

    item: str
    at: float


class ItemCompleted(Entry, kw_only=True, gc=False):
    """The item is finished."""

    type = "item_completed"

    item: str


class ItemRemoved(Entry, kw_only=True, gc=False):
    """The host took the item out of the window; it is archived as every removed item is."""

    type = "item_removed"

    item: str
    kind: Kind
    component: Component
    tokens: int
    original_tokens: int  # the size an archive record shows: before the first compression
    reason: str
    content: int | None = None


class Action(msgspec.Struct, omit_defaults=True, gc=False):
    """One thing a cleanup did to one item; never changed. `number` is its directive's, 0 where none is sent.

    `original_tokens`: the size before the item's first compression; `content`: the version its content was put with.
    A cleanup makes ten thousand of them, by position.
    """

    step: Step
    action: ActionName
    item: str
    kind: Kind
    component: Component
    tokens_before: int
    tokens_after: int
    original_tokens: int
    content: int | None = None
    number: int = 0


class CleanedUp(Entry, kw_only=True, gc=False):
    """A cleanup freed tokens: `actions` in order. `due`: when an age could next matter to this component.

    `due_call`: the same in the session's model calls. `sent`: the answer to the command that caused it carries its
    directives. `reasons`: why each step acted, where the policy's numbers are not those of `standard`.
    """

    type = "cleaned_up"

    component: Component
    trigger: Trigger
    tokens_freed: int
    actions: tuple[Action, ...]
    due: float | None = None
    sent: bool = True
    due_call: int | None = None
    reasons: Mapping[Step, str] = field(default_factory=lambda: MappingProxyType({}))


class BoundExceeded(Entry, kw_only=True, gc=False):
    """The component stood above a bound when its cleanup was due and nothing could be freed, or too little to pay.

    Remembers the usage, so that cleanup does not run again before usage has grown or an item has aged (SPEC 3.5).
    `window`: the bound and the usage are those of the whole window, and `component` the one that stood worst.
    """

    type = "bound_exceeded"

    component: Component
    bound: Literal["target", "budget", "window"]
    used_tokens: int
    due: float | None = None
    due_call: int | None = None


class UsageReported(Entry, kw_only=True, gc=False):
    """The host or its telemetry stated levels; `unheld` and `unattributed_tokens` are what follows from them.

    `call`: the total is that of a model call, not what a compaction left.
    """

    type = "usage_reported"

    source: Source
    components: Mapping[Component, int] | None = None
    total: int | None = None
    unheld: Mapping[Component, int]
    unattributed_tokens: int
    call: bool = True


class Calibrated(Entry, kw_only=True, gc=False):
    """The total is divided by another ratio from now on: provider tokens for each counted one (SPEC 3.9)."""

    type = "calibrated"

    before: float
    ratio: float


class Compacted(Entry, kw_only=True, gc=False):
    """The level of an observed window fell: the host compacted it. Nothing is claimed as freed by us."""

    type = "compacted"

    tokens_before: int
    tokens_after: int
    source: Literal["reported", "inferred"]


class WindowSynced(Entry, kw_only=True, gc=False):
    """The host showed its whole next prompt; the entries of the same command before it are the difference."""

    type = "window_synced"

    items: int
    tokens: int
    through: int = 0


class DirectivesConfirmed(Entry, kw_only=True, gc=False):
    """The host applied these directives. `tokens`: what they freed, as the ledger had it, by component and step."""

    type = "directives_confirmed"

    numbers: tuple[int, ...]
    tokens: Mapping[Component, Mapping[Step, int]] = field(default_factory=lambda: MappingProxyType({}))


class DirectivesUndone(Entry, kw_only=True, gc=False):
    """These directives did not happen in the host's window: their items are as they were before.

    `failed`: the host said so; `shown`: a window sync showed it; `superseded`: the host put the item anew.
    """

    type = "directives_undone"

    numbers: tuple[int, ...]
    why: Literal["failed", "shown", "superseded"]
    reasons: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # by number, as text


class SharesAdjusted(Entry, kw_only=True, gc=False):
    """The shares changed, and why.

    Those of trigger `close` are not the session's, which is over, but what the agent's next one starts from. `raised`:
    components that an automatic adjustment moved for their own sake, and whether up; `doubted`: those whose move waits
    for a second sign, because it would take the last one back (budget/adapting.py).
    """

    type = "shares_adjusted"

    trigger: Literal["request", "interval", "prediction", "close"]
    before: Mapping[Component, float]
    after: Mapping[Component, float]
    reasons: Mapping[Component, list[str]]
    raised: Mapping[Component, bool] = field(default_factory=lambda: MappingProxyType({}))
    doubted: tuple[Component, ...] = ()


class TasksPlanned(Entry, kw_only=True, gc=False):
    """Needs were predicted: per task its score, complexity, prior and predicted needs (replies.TaskPrediction)."""

    type = "tasks_planned"

    tasks: tuple[Mapping[str, Any], ...]


class TaskCompleted(Entry, kw_only=True, gc=False):
    """A planned task is done. `actual` tokens per component, `allocated` the budgets it was held against.

    `agent`: whose profile learns from it (None: nobody's).
    """

    type = "task_completed"

    task: str
    complexity: str
    prior: Mapping[Component, int]
    predicted: Mapping[Component, int]
    actual: Mapping[Component, int]
    measured: bool
    allocated: Mapping[Component, int]
    agent: str | None = None


class Learned(Entry, kw_only=True, gc=False):
    """What a session that closes has taught of its agent (budget/profile.py); what it could not tell is None.

    `shares`: what the next session starts from, where this one `began_with` others; `raised` and `doubted` as in
    `SharesAdjusted`. `provider_ratio`: provider tokens for each counted token of the session's `model`. `call_growth`:
    tokens that a model call added.
    """

    type = "learned"

    agent: str
    preset: str
    shares: Mapping[Component, float] | None = None
    began_with: Mapping[Component, float] | None = None
    raised: Mapping[Component, bool] = field(default_factory=lambda: MappingProxyType({}))
    doubted: tuple[Component, ...] = ()
    model: str | None = None
    provider_ratio: float | None = None
    call_growth: float | None = None


class ArchiveErased(Entry, kw_only=True, gc=False):
    """Archived items and their content were erased: one, or all (None)."""

    type = "archive_erased"

    item: str | None = None


class Closed(Entry, kw_only=True, gc=False):
    """The session ended."""

    type = "closed"

    by: Literal["host", "idle"] = "host"


class Noted(Entry, kw_only=True, gc=False):
    """A command with an id changed nothing; its id is remembered all the same."""

    type = "noted"


AnyEntry: TypeAlias = (
    Opened
    | Changed
    | Exhausted
    | Allocated
    | LeaseLapsed
    | Released
    | ItemPut
    | ItemResized
    | ItemTouched
    | ItemCompleted
    | ItemRemoved
    | CleanedUp
    | BoundExceeded
    | UsageReported
    | Calibrated
    | Compacted
    | WindowSynced
    | DirectivesConfirmed
    | DirectivesUndone
    | SharesAdjusted
    | TasksPlanned
    | TaskCompleted
    | Learned
    | ArchiveErased
    | Closed
    | Noted
)
