"""Counters and histograms, each entry counted once as it becomes durable."""

from collections.abc import Callable
from typing import TypeAlias, assert_never

from sidecar.budget.entries import (
    Allocated,
    AnyEntry,
    ArchiveErased,
    BoundExceeded,
    Calibrated,
    Changed,
    CleanedUp,
    Closed,
    Compacted,
    DirectivesConfirmed,
    DirectivesUndone,
    Exhausted,
    ItemCompleted,
    ItemPut,
    ItemRemoved,
    ItemResized,
    ItemTouched,
    Learned,
    LeaseLapsed,
    Noted,
    Opened,
    Released,
    SharesAdjusted,
    TaskCompleted,
    TasksPlanned,
    UsageReported,
    WindowSynced,
)
from sidecar.budget.held import ratio
from sidecar.budget.policy import COMPONENTS, Component, Mode
from sidecar.exporters.catalog import CATALOG
from sidecar.exporters.forecasts import Miss
from sidecar.exporters.metric import CLEANED, COMPACTION_SOURCES, COMPONENT_OF_STEP, PREDICTED, PREDICTED_ALWAYS, Metric
from sidecar.exporters.series import Counted, Distributed, Distribution
from sidecar.ledger import Record

# Makes an exemplar's text of a value; empty where there is no trace to point to.
Exemplar: TypeAlias = Callable[[float], str]


# What nothing is counted of, and comes most often.
QUIET: frozenset[type[AnyEntry]] = frozenset(
    {ItemTouched, ItemResized, ItemCompleted, ItemRemoved, Released, LeaseLapsed}
)


class Counting:
    """The series of the whole catalogue, and the rules by which entries and cleanup runs move its counters."""

    def __init__(self, *, detail: bool = True) -> None:
        self._judged = COMPONENTS if detail else PREDICTED_ALWAYS
        self._counted = {metric.name: Counted(metric) for metric in CATALOG if metric.kind != "histogram"}
        self._distributed = {metric.name: Distributed(metric) for metric in CATALOG if metric.kind == "histogram"}
        self._exhaustions = self.counted("token_budget_exhaustions_total")
        self._allocations = self.counted("token_budget_allocations_total")
        self._requested = self.counted("token_budget_requested_tokens_total")
        self._granted = self.counted("token_budget_granted_tokens_total")
        self._decisions = self.distributed("token_budget_allocation_duration_seconds")[()]
        self._cleanups = self.counted("token_budget_cleanups_total")
        self._durations = self.distributed("token_budget_cleanup_duration_seconds")
        self._freed = self.counted("token_budget_cleanup_freed_tokens_total")
        self._confirmed = self.counted("token_budget_cleanup_confirmed_tokens_total")
        self._readmitted = self.counted("token_budget_readmitted_tokens_total")
        self._failed = self.counted("token_budget_directives_failed_total")
        self._adjustments = self.counted("token_budget_share_adjustments_total")
        self._errors = self.distributed("token_budget_prediction_error_ratio")
        self._forecasts = self.distributed("token_budget_window_forecast_error_ratio")
        self._missed: dict[tuple[Component | None, int], Distribution] = {}  # by level and horizon
        self._calls = self.distributed("token_budget_window_call_utilization_ratio")
        self._compactions = self.counted("token_budget_compactions_total")
        self._compacted = self.counted("token_budget_compaction_freed_tokens_total")
        self._session_exhaustions = self.distributed("token_budget_session_exhaustions")
        for metric in CATALOG:
            if not metric.per_agent:
                self._begin(metric, ())

    def counted(self, name: str) -> Counted:
        """The counter, gauge or info metric of this name."""
        return self._counted[name]

    def distributed(self, name: str) -> Distributed:
        """The histogram metric of this name."""
        return self._distributed[name]

    def family(self, name: str) -> Counted | Distributed:
        """The metric of this name."""
        return self._counted.get(name) or self._distributed[name]

    def begin_agent(self, agent: str) -> None:
        """Let the series of an agent that is new begin at 0."""
        for metric in CATALOG:
            if metric.per_agent:
                self._begin(metric, (agent,))

    def end_agent(self, agent: str) -> None:
        """Show an agent's series no more."""
        for metric in CATALOG:
            if metric.per_agent:
                self.family(metric.name).end(agent)

    def begin_mode(self, agent: str, mode: Mode) -> None:
        """Let the series of an agent's sessions of this mode begin at 0."""
        for component in COMPONENTS:
            self._exhaustions[agent, component, mode]
        if mode == "observed":
            for source in COMPACTION_SOURCES:
                self._compactions[agent, source]
                self._compacted[agent, source]

    def _begin(self, metric: Metric, before: tuple[str, ...]) -> None:
        if metric.kind == "info":
            return
        for values in metric.initial_series():
            self.family(metric.name)[(*before, *values)]  # to ask for a series is to begin it

    def record(self, agent: str, record: Record, exemplar: Exemplar | None) -> None:
        """Count what one command did. `exemplar` is asked where a series shows one."""
        for stored in record.entries:
            entry = stored.entry
            if type(entry) not in QUIET:
                self._count(agent, record, entry, exemplar)
        for run in record.runs:
            if not run.advice and run.component in CLEANED:
                self._cleanups[agent, run.component, run.trigger, run.result].add(1)
                self._durations[run.component,].observe(run.duration, exemplar(run.duration) if exemplar else "")

    def _count(  # noqa: C901, PLR0912 - one branch an entry, as many as there are
        self, agent: str, record: Record, entry: AnyEntry, exemplar: Exemplar | None
    ) -> None:
        session = record.session
        match entry:  # the most frequent first
            case ItemPut():
                if entry.readmitted:
                    self._readmitted[agent, entry.item.component].add(entry.readmitted)
            case Allocated():
                self._allocations[agent, entry.component, entry.outcome].add(1)
                self._requested[agent, entry.component].add(entry.requested)
                self._granted[agent, entry.component].add(entry.granted)
                seconds = record.decision_seconds
                self._decisions.observe(seconds, exemplar(seconds) if exemplar else "")
            case UsageReported():
                if entry.total is not None and entry.call:
                    # Billed in the provider's tokens, as the window is, and not in the host's that the budgets are in.
                    window = session.total_tokens - session.reserve_tokens
                    self._calls[agent,].observe(ratio(entry.total, window))
            case WindowSynced():
                self._calls[agent,].observe(ratio(entry.tokens, session.total))
            case Exhausted():
                exhaustions = self._exhaustions[agent, entry.component, session.mode]
                exhaustions.add(1)
                exhaustions.exemplar = exemplar(1) if exemplar else ""
            case CleanedUp():
                for action in entry.actions:
                    freed = action.tokens_before - action.tokens_after
                    self._freed[agent, COMPONENT_OF_STEP[action.step], action.step].add(freed)
            case DirectivesConfirmed():
                for steps in entry.tokens.values():
                    for step, tokens in steps.items():
                        self._confirmed[agent, COMPONENT_OF_STEP[step], step].add(tokens)
            case DirectivesUndone():
                if entry.why == "failed":
                    self._failed[agent,].add(len(entry.numbers))
            case Compacted():
                self._compactions[agent, entry.source].add(1)
                self._compacted[agent, entry.source].add(max(0, entry.tokens_before - entry.tokens_after))
            case SharesAdjusted():
                for component, share in entry.after.items():
                    before = entry.before[component]
                    if share != before:
                        self._adjustments[agent, component, "up" if share > before else "down"].add(1)
            case TaskCompleted():
                self._task_completed(entry)
            case Closed():
                self._session_exhaustions[agent,].observe(session.exhaustions)
            case Opened() | Changed():
                self.begin_mode(agent, session.mode)
            case TasksPlanned():
                self._begin_errors()
            case BoundExceeded() | Calibrated() | ArchiveErased() | Learned() | Noted():
                pass
            case ItemTouched() | ItemResized() | ItemCompleted() | ItemRemoved() | Released() | LeaseLapsed():
                pass  # QUIET
            case _:
                assert_never(entry)

    def _begin_errors(self) -> None:
        for component in PREDICTED:
            if component in self._judged:
                self._errors[component, "prior"]

    def missed(self, miss: Miss) -> None:
        """The time of a forecast that is judged has come, and it was so far off."""
        errors = self._missed.get((miss.component, miss.calls))
        if errors is None:
            errors = self._missed[miss.component, miss.calls] = (
                self._forecasts[str(miss.calls),]
                if miss.component is None
                else self._errors[miss.component, "forecast"]
            )
        errors.observe(miss.error)

    def _task_completed(self, entry: TaskCompleted) -> None:
        """How far the needs that were predicted lay from the actual ones, in parts of the component's budget."""
        learned = entry.predicted != entry.prior
        for component in PREDICTED:
            if component not in self._judged:
                continue
            budget = entry.allocated.get(component, 0)
            if budget <= 0:
                continue
            actual = entry.actual.get(component, 0)
            self._errors[component, "prior"].observe(abs(entry.prior.get(component, 0) - actual) / budget)
            if learned:
                error = abs(entry.predicted.get(component, 0) - actual) / budget
                self._errors[component, "calibrated"].observe(error)
