"""Every number of SPEC section 3, as data.

A `Policy` is what a session is decided by. `STANDARD` is the table of SPEC 3.1; other presets are other values of the
same type, never other code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

Component: TypeAlias = Literal[
    "system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer"
]
COMPONENTS: tuple[Component, ...] = get_args(Component)

Status: TypeAlias = Literal["low", "moderate", "high", "critical"]
STATUSES: tuple[Status, ...] = get_args(Status)

Mode: TypeAlias = Literal["managed", "observed"]
MODES: tuple[Mode, ...] = get_args(Mode)

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
    """The thresholds of SPEC 3.5. Ages in seconds of session time, sizes in tokens, the rest ratios."""

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
    # A fall of an observed window by at least this part of its former level is a compaction; less is the noise of
    # providers that drop reasoning between calls (recorded sessions: noise up to 0.08, compactions from 0.12).
    compaction_drop: float = 0.10
    drifted_after: int = 10  # answers that carried the oldest pending directive in vain (SPEC 3.6)
    directives_per_answer: int = 100

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


_WORKING_MEMORY: tuple[Step, ...] = ("compress_inactive", "remove_debug", "archive_tasks", "evict_lru")

STANDARD = Policy(
    name="standard",
    components=MappingProxyType(
        {
            "system_context": ComponentPolicy(share=0.10, target=Target(low=0.95, high=0.99), fixed=True),
            "working_memory": ComponentPolicy(
                share=0.30,
                target=Target(low=0.70, high=0.80),
                steps=_WORKING_MEMORY,
                above_target=_WORKING_MEMORY,
            ),
            "knowledge_base": ComponentPolicy(
                share=0.20,
                target=Target(low=0.60, high=0.75),
                steps=("unload_skills", "cache_docs", "remove_duplicates", "compress_docs"),
                above_target=("unload_skills",),
            ),
            "agent_context": ComponentPolicy(
                share=0.15,
                target=Target(low=0.70, high=0.85),
                steps=("archive_completed", "compress_idle"),
                above_target=("archive_completed",),
            ),
            "interaction_buffer": ComponentPolicy(
                share=0.25,
                target=Target(low=0.60, high=0.75),
                steps=("summarize_old", "remove_redundant", "archive"),
                above_target=("summarize_old",),
            ),
        }
    ),
)

PRESETS: Mapping[str, Policy] = MappingProxyType({"standard": STANDARD})
