"""What a session is decided by: the dimensions of a `Policy`, with the numbers of SPEC section 3 as their defaults.

The dimensions beyond that section's table (SPEC 3.10) are off by default. Presets are values of this type, never other
code (presets.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

Component: TypeAlias = Literal[
    "system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer"
]
COMPONENTS: tuple[Component, ...] = get_args(Component)

Status: TypeAlias = Literal["low", "moderate", "high", "critical"]
STATUSES: tuple[Status, ...] = get_args(Status)

Mode: TypeAlias = Literal["managed", "observed"]
MODES: tuple[Mode, ...] = get_args(Mode)

Kind: TypeAlias = Literal[
    "prompt",
    "tool_definition",
    "config",
    "context",
    "tool_result",
    "debug",
    "task",
    "file",
    "skill",
    "doc",
    "memory",
    "agent",
    "plan",
    "execution",
    "interaction",
]

Eviction: TypeAlias = Literal["lru", "size_adjusted"]

Step: TypeAlias = Literal[
    "compress_inactive",
    "remove_debug",
    "archive_tasks",
    "evict_lru",
    "unload_skills",
    "cache_docs",
    "remove_duplicates",
    "compress_docs",
    "archive_completed",
    "compress_idle",
    "summarize_old",
    "remove_redundant",
    "archive",
]

MINUTE = 60.0
HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The utilization a component should run at: a ratio, `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentPolicy:
    """One row of SPEC 3.1: a share of the window, where it should run, and how it is cleaned up.

    `steps` is the cleanup strategy in order; `above_target` the part of it that runs when the target is crossed.
    """

    share: float
    target: Target
    steps: tuple[Step, ...] = ()
    above_target: tuple[Step, ...] = ()
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPolicy:
    """The thresholds of SPEC 3.5. Ages in seconds of session time, sizes in tokens, the rest ratios.

    Each age has a twin in model calls (`..._calls`; None: off), for sessions too short for rules by the hour: what is
    past either is old, and an exchange is young only while it is within both. A model call is a window sync, or a usage
    report with a total; a session that has shown none yet goes by the seconds alone.
    """

    large_item_tokens: int = 10_000  # compress_inactive and compress_idle look only at larger items
    inactive_after: float = HOUR  # compress_inactive
    idle_after: float = HOUR  # compress_idle
    compress_to: float = 0.4
    debug_after: float = 2 * HOUR  # remove_debug
    evict_above: float = 0.75  # evict_lru acts only above this utilization, the pending request left out
    evict_count: int = 5
    unload_after: float = 3 * HOUR  # unload_skills
    doc_summary_to: float = 0.2  # cache_docs
    large_doc_tokens: int = 2_000  # compress_docs
    compress_docs_to: float = 0.3
    summarize_after: float = 2 * HOUR  # summarize_old
    summary_tokens: int = 200
    redundant_within: float = 10 * MINUTE  # remove_redundant
    similar_bits: int = 3  # Hamming distance up to which two 16-digit fingerprints are similar
    archive_after: float = 4 * HOUR  # archive
    full_text_for: float = 30 * MINUTE  # interactions younger than this keep their full text
    extent: Literal["full", "goal"] = "full"
    rerun_growth: float = 0.05  # while above a bound: the growth, as a part of the budget, that runs cleanup again

    inactive_after_calls: int | None = None  # compress_inactive
    debug_after_calls: int | None = None  # remove_debug
    unload_after_calls: int | None = None  # unload_skills
    idle_after_calls: int | None = None  # compress_idle
    summarize_after_calls: int | None = None  # summarize_old
    archive_after_calls: int | None = None  # archive
    full_text_for_calls: int | None = None  # exchanges keep their full text

    # An item that has been in fewer model calls than this since it was put or last used is never touched; 0 is off.
    protect_calls: int = 0
    # Tokens to be freed for each token that falls out of the provider's prompt cache, or the cleanup waits; 0 is off.
    # The cache holds a prompt up to the first change, so all that stands behind the first touched item is lost. With a
    # cached token at the part p of a fresh one's price and n calls still to come, freeing pays from (1 - p) / (p n) on:
    # 0.18 at p = 0.1 and n = 50. A manual cleanup never waits, nor one without which something would be refused.
    minimum_gain: float = 0.0
    evict_kinds: tuple[Kind, ...] = ("file",)  # evict_lru
    # Which of them go first. `lru`: the least recently used. `size_adjusted`: the largest product of size and age since
    # the last use, so that few large items go instead of many small ones (size-adjusted LRU: Aggarwal, Wolf and Yu,
    # "Caching on the World Wide Web", IEEE Transactions on Knowledge and Data Engineering 11(1), 1999).
    eviction: Eviction = "lru"
    # What has the newest copy of a path, and its group, goes after all else: an older one is out of date, and what has
    # no path was a command's output, which nobody asks for by name again.
    newest_copies_last: bool = False
    # What the stub of a removed item takes of the window, in tokens: an item no larger is not removed on its own, and
    # only what is left beyond it counts as gained where gain is weighed or a goal is to be reached.
    stub_tokens: int = 0

    @property
    def counts_calls(self) -> bool:
        """Whether any rule goes by model calls."""
        return self.protect_calls > 0 or not (
            self.inactive_after_calls is None
            and self.debug_after_calls is None
            and self.unload_after_calls is None
            and self.idle_after_calls is None
            and self.summarize_after_calls is None
            and self.archive_after_calls is None
            and self.full_text_for_calls is None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptPolicy:
    """The rules of SPEC 3.4. `interval` is seconds of session time between adjustments; None is off."""

    exhaustions_over: int = 3
    raise_by: float = 0.05
    cap: float = 0.50
    idle_below: float = 0.50
    lower_by: float = 0.05
    floor: float = 0.05
    interval: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictPolicy:
    """The complexity prior of SPEC 3.8: score = files + agents + minutes, weighted; then a table of needs in tokens."""

    per_file: float = 10.0
    per_agent: float = 20.0
    per_minute: float = 2.0
    moderate_from: float = 50.0
    complex_from: float = 150.0
    needs: Mapping[str, Mapping[Component, int]] = field(
        default_factory=lambda: MappingProxyType(
            {
                "simple": {"working_memory": 10_000, "agent_context": 5_000},
                "moderate": {"working_memory": 30_000, "agent_context": 15_000, "knowledge_base": 10_000},
                "complex": {"working_memory": 60_000, "agent_context": 30_000, "knowledge_base": 20_000},
            }
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticPolicy:
    """Borrowing between components (SPEC 3.10). `lender_floor` is a part of the window.

    A component that is short after its cleanup borrows what the others (the fixed one left aside) hold beyond what they
    use, the predicted needs of planned tasks, and the floor; requests only while the whole window stays at or below the
    upper bound of the overall target. When a lender needs its own back, the borrowers are cleaned up first.
    """

    on: bool = False
    lender_floor: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPolicy:
    """Cleanup of the whole window (SPEC 3.10): above the part `upper` of it (None: off) down to the part `lower`.

    `order`: which component is cleaned up first. `worst`: the one of the highest utilization; `reclaimable`: the one of
    the most tokens that a cleanup would free. Its trigger is `target`: the upper mark is the window's own target.
    """

    upper: float | None = None
    lower: float = 0.60
    order: Literal["worst", "reclaimable"] = "worst"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratePolicy:
    """Budgets in the host's own tokens (SPEC 3.9): the total is divided by what one of them is billed as.

    The ratio is the median of the last `calls` billed calls of at least `least_tokens` counted tokens, within `low` to
    `high` (beyond that a prompt holds what the host has not counted, which stays unattributed). The total follows once
    the ratio has moved by the part `hysteresis` of the one that it was divided by last.
    """

    on: bool = False
    calls: int = 9
    least_tokens: int = 500
    low: float = 0.5
    high: float = 2.0
    hysteresis: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a session is decided by."""

    name: str
    components: Mapping[Component, ComponentPolicy]
    total_tokens: int = 200_000
    overall_target: Target = Target(low=0.75, high=0.85)
    critical_from: float = 0.90
    high_from: float = 0.75
    moderate_from: float = 0.50
    cleanup: CleanupPolicy = CleanupPolicy()
    adapt: AdaptPolicy = AdaptPolicy()
    predict: PredictPolicy = field(default_factory=PredictPolicy)
    elastic: ElasticPolicy = ElasticPolicy()
    measured_system: bool = False  # the fixed share is what it really takes; the others divide what is left
    window: WindowPolicy = WindowPolicy()
    calibrate: CalibratePolicy = CalibratePolicy()
    # A fall of an observed window by at least this part of its former level is a compaction; less is the noise of
    # providers that drop reasoning between calls (recorded sessions: noise up to 0.08, compactions from 0.12).
    compaction_drop: float = 0.10
    drifted_after: int = 10  # answers that carried the oldest pending directive in vain (SPEC 3.6)
    directives_per_answer: int = 100
    # Follows from the rest, for who puts an item: the ages that concern its component and kind (budget/ages.py).
    aging: dict[tuple[Component, Kind], Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def shares(self) -> dict[Component, float]:
        """The default share of each component; they sum to 1."""
        return {name: self.components[name].share for name in COMPONENTS}

    def status(self, utilization: float) -> Status:
        """The word for a utilization ratio (SPEC 3.3)."""
        if utilization >= self.critical_from:
            return "critical"
        if utilization >= self.high_from:
            return "high"
        if utilization >= self.moderate_from:
            return "moderate"
        return "low"
