"""What a caller is answered, as typed dictionaries: encoded as they are, and the models of the OpenAPI document.

Tokens are integers, utilizations ratios, durations as their names say, times RFC 3339 in UTC.
"""

from typing import Literal, NotRequired, TypeAlias, TypedDict

from sidecar.budget.commands import Source
from sidecar.budget.entries import ActionName, Outcome, Trigger
from sidecar.budget.items import Kind
from sidecar.budget.policy import Component, Mode, Status, Step

State: TypeAlias = Literal["active", "idle", "closed", "drifted"]


class TargetRange(TypedDict):
    """Where utilization should be."""

    low: float
    high: float


class ComponentReport(TypedDict):
    """One component of a session's window. `reclaimable_tokens` is absent where its items are unknown."""

    allocated_tokens: int
    used_tokens: int
    available_tokens: int
    pending_tokens: int
    borrowed_tokens: int
    reclaimable_tokens: NotRequired[int]
    utilization_ratio: float
    status: Status
    target: TargetRange
    exhaustions: int


class OverallReport(TypedDict):
    """The whole window. `total_tokens` is what is left after the reserve."""

    total_tokens: int
    used_tokens: int
    available_tokens: int
    pending_tokens: int
    unattributed_tokens: int
    utilization_ratio: float
    status: Status
    target: TargetRange


class Range(TypedDict):
    """An expected utilization, and between what it lies in 80 of 100 cases."""

    utilization_ratio: float
    low: float
    high: float


class Expected(Range):
    """Where the whole window and its components are so many model calls ahead, if nothing is cleaned up."""

    calls: int
    components: dict[Component, Range]


class Forecast(TypedDict):
    """Time to exhaustion, and what is expected until then, at the present growth; absent where unknown."""

    eta_seconds: NotRequired[float]
    eta_calls: NotRequired[float]
    tokens_per_call: NotRequired[float]
    expected: NotRequired[list[Expected]]


class Report(TypedDict):
    """The utilization report of a session (SPEC section 4)."""

    session: str
    agent: str
    parent: str | None
    mode: Mode
    model: str | None
    state: State
    timestamp: str
    components: dict[Component, ComponentReport]
    overall: OverallReport
    forecast: Forecast
    shares: dict[Component, float]
    provider_ratio: float | None
    source: Source


class ProfileReply(TypedDict):
    """What is known of an agent: given by the operator, or learned from its sessions and tasks.

    `shares`: what its next session starts from (null: its preset's), where its preset is `preset` (null: any).
    `calibration`: what its tasks need, as a multiple of the prior, by component; `tasks`: how many that rests on.
    `tokens_per_call`: what a model call adds to its windows; `provider_ratios`: provider tokens for each counted token,
    by model; `sessions`: how many closed sessions these rest on. `learned_at` is null where nothing was learned.
    """

    agent: str
    shares: dict[Component, float] | None
    preset: str | None
    calibration: dict[Component, float]
    tasks: int
    tokens_per_call: float | None
    provider_ratios: dict[str, float]
    sessions: int
    learned_at: str | None


class SessionSummary(TypedDict):
    """A session in the list of sessions."""

    session: str
    agent: str
    mode: Mode
    state: State
    model: str | None
    total_tokens: int
    used_tokens: int
    utilization_ratio: float
    status: Status


class DirectiveReply(TypedDict):
    """One numbered action for the agent to apply to its window (SPEC 3.6). `stub` only for a removed item."""

    number: int
    action: ActionName
    item: str
    component: Component
    tokens_before: int
    tokens_after: int
    step: Step
    reason: str
    stub: NotRequired[str]


class StepReply(TypedDict):
    """What one step of a cleanup did."""

    step: Step
    items: int
    tokens_freed: int


class Cleanup(TypedDict):
    """One run of a component's cleanup. `advice`: nothing was done, the session is observed."""

    component: Component
    trigger: Trigger
    tokens_freed: int
    duration_ms: float
    actions_taken: list[Step]
    steps: list[StepReply]
    advice: NotRequired[bool]


class CleanupReply(Cleanup):
    """The answer to a cleanup."""

    directives: list[DirectiveReply]


class AllocationReply(TypedDict):
    """The answer to a request: a result, whatever the outcome."""

    component: Component
    requested: int
    granted: int
    outcome: Outcome
    available_tokens: int
    cleanup: Cleanup | None
    directives: list[DirectiveReply]


class ArchiveRecordReply(TypedDict):
    """An archived item (SPEC 3.5). `content` only where one record is read and content was supplied."""

    id: str
    kind: Kind
    component: Component
    step: str | None
    reason: str
    tokens_before: int
    tokens_after: int
    archived_at: str
    content: NotRequired[str | None]


class RestoreReply(AllocationReply):
    """The answer to a restore: the allocation, and the item with its first size and content."""

    item: ArchiveRecordReply


class ReleaseReply(TypedDict):
    """The answer to a release."""

    component: Component
    released_tokens: int
    available_tokens: int
    item: NotRequired[str]
    directives: list[DirectiveReply]


class WindowReply(TypedDict):
    """The answer to a window sync."""

    report: Report
    directives: list[DirectiveReply]


class AcknowledgeReply(TypedDict):
    """The answer to an acknowledgement."""

    confirmed: int
    failed: int
    confirmed_tokens: int
    directives: list[DirectiveReply]


Complexity: TypeAlias = Literal["simple", "moderate", "complex"]


class TaskPrediction(TypedDict):
    """What one task will need, in tokens per component."""

    id: str
    score: float
    complexity: Complexity
    prior: dict[Component, int]
    predicted: dict[Component, int]


class PredictionReply(TypedDict):
    """The answer to a prediction; `available` and `shortfall` as they were before any cleanup."""

    tasks: list[TaskPrediction]
    prior: dict[Component, int]
    predicted: dict[Component, int]
    available: dict[Component, int]
    shortfall: dict[Component, int]
    suggested_shares: dict[Component, float] | None
    cleanups: list[Cleanup]
    directives: list[DirectiveReply]


class AdjustmentReply(TypedDict):
    """The answer to a share adjustment."""

    before: dict[Component, float]
    after: dict[Component, float]
    reasons: dict[Component, list[str]]
    directives: list[DirectiveReply]


class ErasureReply(TypedDict):
    """The answer to an erasure of the archive: the item erased, null for all of them."""

    item: str | None
    directives: list[DirectiveReply]


class ItemReply(TypedDict):
    """An item as the ledger holds it."""

    id: str
    kind: Kind
    component: Component
    tokens: int
    created_at: str
    last_accessed_at: str
    completed: bool
    pinned: bool
    full: bool
    doc_tokens: int
    group: str | None
    path: str | None
    fingerprint: str | None


class Acknowledged(TypedDict):
    """The answer to a fact that has no more to say."""

    directives: list[DirectiveReply]
