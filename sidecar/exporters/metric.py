"""What a metric is, and the values that its labels may have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Literal, TypeAlias

from sidecar.budget.commands import EVENTS
from sidecar.budget.pace import REACHES
from sidecar.budget.policy import COMPONENTS, Component, Step
from sidecar.budget.presets import STANDARD

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]
Labels: TypeAlias = tuple[str, ...]

# A label without listed values: its bound is a setting or the build itself.
OPEN: Labels = ()

OTHER = "other"  # what a value outside a bounded set is shown as
COMPACTION_SOURCES: Labels = ("reported", "inferred")
STATES: Labels = ("active", "drifted", "idle")
RECEIVERS: Labels = ("api", "events", "otlp", OTHER)
EVENT_TYPES: Labels = (*EVENTS, "change_session", "erase_archive", OTHER)
REJECTIONS: Labels = (
    "malformed",
    "invalid",
    "unauthenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "timeout",
    "conflict",
    "too_large",
    "media_type",
    "overloaded",
    "failed",
    "damaged",
    "unavailable",
    OTHER,
)
SIGNALS: Labels = ("traces", "logs", "metrics")
FORWARDED: Labels = ("delivered", "failed")
DROPPED: Labels = (
    "agent_label",
    "archive_record",
    "content",
    "entry",
    "forward",
    "session",
    "span",
    "stream_event",
    OTHER,
)
DROP_REASONS: Labels = (
    "age",
    "damaged",
    "failed",
    "journal_down",
    "max_agents",
    "queue_full",
    "shutdown",
    "size",
    OTHER,
)

CLEANED = tuple(name for name in COMPONENTS if STANDARD.components[name].steps)
STEPS = tuple((name, step) for name in CLEANED for step in STANDARD.components[name].steps)
# A step belongs to one component, also where an item of another one goes with its group.
COMPONENT_OF_STEP: Mapping[Step, Component] = MappingProxyType({step: name for name, step in STEPS})
ADJUSTABLE = tuple(name for name in COMPONENTS if not STANDARD.components[name].fixed)
HORIZONS: Labels = tuple(str(reach.calls) for reach in REACHES)  # model calls ahead
# The components that the complexity prior of SPEC 3.8 speaks of: only these can be predicted wrongly.
PREDICTED = tuple(name for name in COMPONENTS if any(name in needs for needs in STANDARD.predict.needs.values()))
# Whose errors are shown without details: it fills most windows, and each component more is a dozen series.
PREDICTED_ALWAYS: tuple[Component, ...] = ("working_memory",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric, under the name that the text format shows (counters with `_total`).

    `labels`: each label's possible values (`OPEN`: bounded elsewhere, as the text of `help` says). `initial`: the
    values, `agent` left out, of the series that are at 0 from the start; None is every combination. `detail`: shown
    only with `metrics_detail`. `feeds`: the entries, or the part of the program, that it comes from.
    """

    name: str
    kind: Kind
    help: str
    feeds: str
    labels: Mapping[str, Labels] = field(default_factory=lambda: MappingProxyType({}))
    initial: tuple[Labels, ...] | None = None
    unit: str = ""
    buckets: tuple[float, ...] = ()
    detail: bool = False
    section: str = "6"

    @property
    def per_agent(self) -> bool:
        """Whether each agent has series of its own."""
        return "agent" in self.labels

    def initial_series(self) -> tuple[Labels, ...]:
        """The label values, `agent` left out, of the series that are there before anything happened."""
        if self.initial is not None:
            return self.initial
        return tuple(product(*(values for label, values in self.labels.items() if label != "agent")))
