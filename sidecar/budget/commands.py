"""What may be asked of a session.

Each command is a frozen dataclass: its fields are the wire format (SPEC section 4), its annotations the shape that the
edge validates, so there are no mirror wire models. Rules that need the session live in `decide`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen

from sidecar.budget.items import Kind
from sidecar.budget.policy import Component, Mode

# Sizes stay far inside 64-bit integers and exact doubles, whatever is summed.
Tokens: TypeAlias = Annotated[int, Ge(0), Le(1_000_000_000_000)]
SomeTokens: TypeAlias = Annotated[int, Ge(1), Le(1_000_000_000_000)]


class NoControls:
    """No control characters: names are shown in terminals, written to logs, and stored where NUL cannot be."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Say it as pydantic's pattern, which the OpenAPI document shows too."""
        return {**handler(source), "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}


class StopAtFirst:
    """The first wrong element of an array is reported and no other: an array may have millions of them."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Say it as pydantic's `fail_fast`."""
        return {**handler(source), "fail_fast": True}


Name: TypeAlias = Annotated[str, NoControls(), MinLen(1), MaxLen(256)]
Text: TypeAlias = Annotated[str, MaxLen(4096)]
# RFC 3339 with an offset, or seconds since the epoch; read by `session.parse_time`.
Time: TypeAlias = float | str
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
Source: TypeAlias = Literal["exact", "estimated", "inferred"]

# Read by pydantic at the edge; plain data here, so that this package needs no validator.
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What every command may carry: the host's `time`, and an `id` by which a repetition is recognized."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: ClassVar[str]

    time: Time | None = None
    id: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSpec:
    """An item as a host describes it (SPEC section 4). Times default to the command's time."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    kind: Kind
    tokens: Tokens
    component: Component | None = None
    created_at: Time | None = None
    last_accessed_at: Time | None = None
    completed: bool = False
    pinned: bool = False
    group: Name | None = None
    path: Text | None = None
    fingerprint: Name | None = None
    full: bool = False
    doc_tokens: Tokens = 0
    claims: Name | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowItem:
    """An item of a window sync: an id and a size; for an item that is new to the ledger a kind as well.

    A field left out (None) stays as the ledger has it, or takes `ItemSpec`'s default for a new item.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    tokens: Tokens
    kind: Kind | None = None
    component: Component | None = None
    created_at: Time | None = None
    last_accessed_at: Time | None = None
    completed: bool | None = None
    pinned: bool | None = None
    group: Name | None = None
    path: Text | None = None
    fingerprint: Name | None = None
    full: bool | None = None
    doc_tokens: Tokens | None = None
    claims: Name | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task to predict the needs of: the files and agents it will touch, and the minutes it should take."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    files: Annotated[list[Text], StopAtFirst(), MaxLen(10_000)] = field(default_factory=list)
    agents: Annotated[list[Text], StopAtFirst(), MaxLen(10_000)] = field(default_factory=list)
    estimated_minutes: Annotated[float, Ge(0), Le(1_000_000)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A directive that the host could not apply, and why."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    number: Annotated[int, Ge(1)]
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHistory:
    """What a share adjustment looks at: exhaustions, and the time-weighted average utilization (a ratio)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    exhaustion_count: Annotated[int, Ge(0)]
    avg_utilization: Annotated[float, Ge(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionSpec:
    """The host's own compaction of its window: the whole window's tokens before and after."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tokens_before: Tokens
    tokens_after: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession(Command):
    """Open a session, or open a closed one again as a new epoch. None takes the operator's default."""

    type = "open_session"

    agent: Name | None = None
    parent: Name | None = None
    mode: Mode | None = None
    total_tokens: SomeTokens | None = None
    reserve_tokens: Tokens | None = None
    shares: dict[Component, Share] | None = None
    preset: Name | None = None
    model: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSession(Command):
    """Change a session's size, shares, mode or model; what is None stays."""

    type = "change_session"

    total_tokens: SomeTokens | None = None
    reserve_tokens: Tokens | None = None
    shares: dict[Component, Share] | None = None
    mode: Mode | None = None
    model: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAllocation(Command):
    """Ask for tokens: `component` and `tokens`, or an `item` that brings both."""

    type = "request_allocation"

    component: Component | None = None
    tokens: SomeTokens | None = None
    item: ItemSpec | None = None
    request_id: Name | None = None
    min_tokens: Tokens | None = None
    all_or_nothing: bool = False
    lease_seconds: Annotated[float, Ge(0), Le(31_536_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTokens(Command):
    """Give back `tokens` of a `component` that no item holds, or an `item` (its id)."""

    type = "release_tokens"

    component: Component | None = None
    tokens: SomeTokens | None = None
    item: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutItem(Command):
    """The window now holds this item, new or changed."""

    type = "put_item"

    item: ItemSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchItem(Command):
    """The item was used."""

    type = "touch_item"

    item: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteItem(Command):
    """The item (a task, an agent, a plan) is finished."""

    type = "complete_item"

    item: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveItem(Command):
    """The host took the item out of its window."""

    type = "remove_item"

    item: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncWindow(Command):
    """The whole next prompt: every item in it, and the highest directive applied to it (SPEC 3.7)."""

    type = "sync_window"

    items: Annotated[list[WindowItem], StopAtFirst(), MaxLen(100_000)]
    through: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUsage(Command):
    """Absolute levels: per component, of the whole window (`total`, as billed), or both (SPEC 3.9).

    With `compaction` the host says that it compacted its window; the levels, if any, are then those it was left with,
    not those of a model call, and the fall to the next call's level is no second compaction.
    """

    type = "report_usage"

    components: dict[Component, Tokens] | None = None
    total: Tokens | None = None
    source: Source = "exact"
    compaction: CompactionSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Command):
    """Directives up to `through` were applied or tried: actual `sizes` by item, and those that `failed` (SPEC 3.6)."""

    type = "acknowledge"

    through: Annotated[int, Ge(0)]
    sizes: Annotated[dict[Name, Tokens], MaxLen(10_000)] = field(default_factory=dict)
    failed: Annotated[list[Failure], StopAtFirst(), MaxLen(10_000)] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTasks(Command):
    """Predict what tasks will need; clean up or adjust shares ahead of them when asked (SPEC 3.8)."""

    type = "plan_tasks"

    tasks: Annotated[list[TaskSpec], StopAtFirst(), MinLen(1), MaxLen(1_000)]
    preempt: bool = False
    adjust: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTask(Command):
    """A planned task is done; `actual` are the tokens it needed, measured by the session itself if left out."""

    type = "complete_task"

    task: Name
    actual: dict[Component, Tokens] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp(Command):
    """Run a component's cleanup strategy now."""

    type = "clean_up"

    component: Component


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustShares(Command):
    """Adapt the shares to the session's history, or to a given one; `dry_run` only answers what it would do."""

    type = "adjust_shares"

    history: dict[Component, ComponentHistory] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreItem(Command):
    """Bring an archived item back, at its first size, through an allocation."""

    type = "restore_item"

    item: Name
    request_id: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseArchive(Command):
    """Erase archived items and their content: the one named, or all of the session."""

    type = "erase_archive"

    item: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSession(Command):
    """The window is gone."""

    type = "close_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireSession(Command):
    """The server's own: nothing was heard of the session for too long (SPEC 3.9)."""

    type = "expire_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class LapseLeases(Command):
    """The server's own: somebody looks at a silent session whose leases have run out (SPEC 3.2)."""

    type = "lapse_leases"


# The commands that may come as events, in SPEC section 4's order.
EVENTS: Mapping[str, type[Command]] = {
    cls.type: cls
    for cls in (
        OpenSession,
        RequestAllocation,
        ReleaseTokens,
        PutItem,
        TouchItem,
        CompleteItem,
        RemoveItem,
        SyncWindow,
        ReportUsage,
        Acknowledge,
        PlanTasks,
        CompleteTask,
        CleanUp,
        AdjustShares,
        RestoreItem,
        CloseSession,
    )
}
