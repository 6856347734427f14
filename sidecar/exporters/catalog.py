"""Every metric of SPEC section 6, as data: the one place that names them.

The exporter builds its series from this table, the reference prints it, and dashboards, alerts and tests are held
against it. A pod with one agent has to stay within 200 series, so what a single window's gauge can do without is
`detail`: it is counted all the same, and shown when the operator sets `metrics_detail`.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from types import MappingProxyType

from sidecar.budget.entries import OUTCOMES, TRIGGERS
from sidecar.budget.policy import COMPONENTS, MODES, STATUSES
from sidecar.exporters.metric import (
    ADJUSTABLE,
    CLEANED,
    COMPACTION_SOURCES,
    DROP_REASONS,
    DROPPED,
    EVENT_TYPES,
    FORWARDED,
    HORIZONS,
    OPEN,
    RECEIVERS,
    REJECTIONS,
    SIGNALS,
    STATES,
    STEPS,
    Labels,
    Metric,
)


def _per_agent(**labels: Labels) -> Mapping[str, Labels]:
    return MappingProxyType({"agent": OPEN, **labels})


def _plain(**labels: Labels) -> Mapping[str, Labels]:
    return MappingProxyType(labels)


_WINDOWS = "active sessions"

CATALOG: tuple[Metric, ...] = (
    Metric(
        name="token_budget_sessions",
        kind="gauge",
        help="Open sessions; the gauges of windows and components leave the idle ones out.",
        labels=_per_agent(mode=MODES, state=STATES),
        initial=tuple(("managed", state) for state in STATES),  # observed ones begin with the first such session
        feeds="open sessions",
        section="3.9",
    ),
    # The whole window
    Metric(
        name="token_budget_window_total_tokens",
        kind="gauge",
        help="Size of the context windows, after the reserve.",
        labels=_per_agent(),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.1",
    ),
    Metric(
        name="token_budget_window_used_tokens",
        kind="gauge",
        help="Tokens that the context windows hold.",
        labels=_per_agent(),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.2",
    ),
    Metric(
        name="token_budget_window_unattributed_tokens",
        kind="gauge",
        help="Tokens in the context windows that no component could be given.",
        labels=_per_agent(),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.9",
    ),
    Metric(
        name="token_budget_window_pending_tokens",
        kind="gauge",
        help="Tokens that directives freed on the ledger and the agents have not confirmed yet.",
        labels=_per_agent(),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.6",
    ),
    Metric(
        name="token_budget_window_utilization_ratio",
        kind="gauge",
        help="Used tokens of all windows by the total of all windows.",
        labels=_per_agent(),
        unit="ratio",
        feeds=_WINDOWS,
        section="3.3",
    ),
    Metric(
        name="token_budget_window_utilization_max_ratio",
        kind="gauge",
        help="Utilization of the fullest window.",
        labels=_per_agent(),
        unit="ratio",
        feeds=_WINDOWS,
        section="3.3",
    ),
    Metric(
        name="token_budget_window_sessions",
        kind="gauge",
        help="Windows by status: critical from 0.90, high from 0.75, moderate from 0.50, else low.",
        labels=_per_agent(status=STATUSES),
        feeds=_WINDOWS,
        section="3.3",
    ),
    Metric(
        name="token_budget_window_status_entered_total",
        kind="counter",
        help="Times that a window came into this status; a new window begins as low.",
        labels=_per_agent(status=STATUSES),
        feeds="changes of active sessions",
        section="3.3",
        detail=True,
    ),
    Metric(
        name="token_budget_window_status_seconds_total",
        kind="counter",
        help="Time that windows spent in this status, summed over windows, by the server's clock.",
        labels=_per_agent(status=STATUSES),
        unit="seconds",
        feeds="changes of active sessions",
        section="3.3",
    ),
    Metric(
        name="token_budget_window_call_utilization_ratio",
        kind="histogram",
        help="Utilization of the window at each model call or window sync.",
        labels=_per_agent(),
        unit="ratio",
        buckets=(0.75, 0.9, 1.0),
        feeds="usage_reported with a total, window_synced",
        section="3.7",
    ),
    # Its components
    Metric(
        name="token_budget_component_allocated_tokens",
        kind="gauge",
        help="Budget of the component.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.1",
    ),
    Metric(
        name="token_budget_component_used_tokens",
        kind="gauge",
        help="Tokens that the component holds.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.2",
    ),
    Metric(
        name="token_budget_component_reclaimable_tokens",
        kind="gauge",
        help="Tokens that a cleanup of the component would free now; absent where its items are unknown.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.5",
    ),
    Metric(
        name="token_budget_component_borrowed_tokens",
        kind="gauge",
        help="Tokens that the component borrows from the others; only elastic presets lend.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds=_WINDOWS,
        section="3.10",
    ),
    Metric(
        name="token_budget_component_utilization_ratio",
        kind="gauge",
        help="Used tokens of the component by its budget, each summed over all windows.",
        labels=_per_agent(component=COMPONENTS),
        unit="ratio",
        feeds=_WINDOWS,
        section="3.3",
    ),
    Metric(
        name="token_budget_component_utilization_max_ratio",
        kind="gauge",
        help="Utilization of the component in the window where it is fullest.",
        labels=_per_agent(component=COMPONENTS),
        unit="ratio",
        feeds=_WINDOWS,
        section="3.3",
        detail=True,
    ),
    Metric(
        name="token_budget_component_sessions",
        kind="gauge",
        help="Windows by the status of the component.",
        labels=_per_agent(component=COMPONENTS, status=STATUSES),
        feeds=_WINDOWS,
        section="3.3",
        detail=True,
    ),
    # Requests and what did not fit
    Metric(
        name="token_budget_exhaustions_total",
        kind="counter",
        help="Requests and new items that did not fit the component's budget before cleanup.",
        labels=_per_agent(component=COMPONENTS, mode=MODES),
        initial=tuple((component, "managed") for component in COMPONENTS),  # see token_budget_sessions
        feeds="exhausted",
        section="3.2",
    ),
    Metric(
        name="token_budget_allocations_total",
        kind="counter",
        help="Decided requests for tokens, by outcome.",
        labels=_per_agent(component=COMPONENTS, outcome=OUTCOMES),
        # `borrowed` comes with elastic presets; a component without cleanup grants nothing after one.
        initial=tuple(
            (component, outcome)
            for component, outcome in product(COMPONENTS, ("full", "after_cleanup", "partial", "denied"))
            if component in CLEANED or outcome != "after_cleanup"
        ),
        feeds="allocated",
        section="3.2",
    ),
    Metric(
        name="token_budget_requested_tokens_total",
        kind="counter",
        help="Tokens asked for.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds="allocated",
        section="3.2",
        detail=True,
    ),
    Metric(
        name="token_budget_granted_tokens_total",
        kind="counter",
        help="Tokens granted.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds="allocated",
        section="3.2",
        detail=True,
    ),
    Metric(
        name="token_budget_allocation_duration_seconds",
        kind="histogram",
        help="Time to decide a request; its cleanup and the journal are not counted.",
        unit="seconds",
        buckets=(0.001, 0.01),
        feeds="decisions of requests",
        section="3.2",
    ),
    # Cleanup
    Metric(
        name="token_budget_cleanups_total",
        kind="counter",
        help="Cleanups run, by what caused them and whether they freed anything.",
        labels=_per_agent(component=COMPONENTS, trigger=TRIGGERS, result=("freed", "noop")),
        # What happens by itself is there from the start; what a host must ask for appears when it first does.
        initial=tuple(product(CLEANED, ("allocation", "target"), ("freed", "noop"))),
        feeds="cleanup runs",
        section="3.5",
    ),
    Metric(
        name="token_budget_cleanup_duration_seconds",
        kind="histogram",
        help="Time that a cleanup took; the journal is not counted.",
        labels=_plain(component=COMPONENTS),
        initial=tuple((name,) for name in CLEANED),
        unit="seconds",
        buckets=(0.05, 0.5),
        feeds="cleanup runs",
        section="3.5",
    ),
    Metric(
        name="token_budget_cleanup_freed_tokens_total",
        kind="counter",
        help="Tokens that cleanups freed on the ledger, by the component cleaned up and the step.",
        labels=_per_agent(component=CLEANED, step=tuple(step for _, step in STEPS)),
        initial=STEPS,
        unit="tokens",
        feeds="cleaned_up",
        section="3.5",
    ),
    Metric(
        name="token_budget_cleanup_confirmed_tokens_total",
        kind="counter",
        help="Of the tokens freed, those whose directives the agents confirmed.",
        labels=_per_agent(component=CLEANED, step=tuple(step for _, step in STEPS)),
        initial=STEPS,
        unit="tokens",
        feeds="directives_confirmed",
        section="3.6",
        detail=True,
    ),
    Metric(
        name="token_budget_readmitted_tokens_total",
        kind="counter",
        help="Tokens of items that had been archived and were needed again.",
        labels=_per_agent(component=COMPONENTS),
        unit="tokens",
        feeds="item_put",
        section="3.5",
        detail=True,
    ),
    Metric(
        name="token_budget_directives_pending",
        kind="gauge",
        help="Directives that the agents have not confirmed yet.",
        labels=_per_agent(),
        feeds=_WINDOWS,
        section="3.6",
    ),
    Metric(
        name="token_budget_directives_oldest_age_seconds",
        kind="gauge",
        help="Session time since the oldest pending directive was made; 0 if none is pending.",
        labels=_per_agent(),
        unit="seconds",
        feeds=_WINDOWS,
        section="3.6",
    ),
    Metric(
        name="token_budget_directives_failed_total",
        kind="counter",
        help="Directives that the agents could not apply.",
        labels=_per_agent(),
        feeds="directives_undone",
        section="3.6",
    ),
    # Adaptation and prediction
    Metric(
        name="token_budget_share_adjustments_total",
        kind="counter",
        help="Changes of a component's share by an adjustment.",
        labels=_per_agent(component=COMPONENTS, direction=("up", "down")),
        initial=tuple(product(ADJUSTABLE, ("up", "down"))),
        feeds="shares_adjusted",
        section="3.4",
        detail=True,
    ),
    Metric(
        name="token_budget_prediction_error_ratio",
        kind="histogram",
        help=(
            "Distance of predicted from actual utilization of a component, in parts of its budget: of working_memory, "
            "and with metrics_detail of the others."
        ),
        labels=_plain(component=COMPONENTS, predictor=("prior", "calibrated", "forecast")),
        # Any session has forecasts. Plans begin with the first of them, the calibrated ones when they first differ.
        initial=(("working_memory", "forecast"),),
        unit="ratio",
        buckets=(0.05,),
        feeds="task_completed",
        section="3.8",
    ),
    Metric(
        name="token_budget_window_forecast_error_ratio",
        kind="histogram",
        help="Distance of forecast from actual utilization of the whole window, so many model calls ahead.",
        labels=_plain(calls=HORIZONS),
        unit="ratio",
        buckets=(0.02, 0.05),
        feeds=_WINDOWS,
        section="3.8",
        detail=True,
    ),
    Metric(
        name="token_budget_exhaustion_eta_seconds",
        kind="gauge",
        help="Time until the first window is full, at its present growth; absent if unknown.",
        labels=_per_agent(),
        initial=(),
        unit="seconds",
        feeds=_WINDOWS,
        section="3.8",
    ),
    Metric(
        name="token_budget_compactions_total",
        kind="counter",
        help="Compactions by the hosts of observed sessions, as they said or as a fall of the level showed.",
        labels=_per_agent(source=COMPACTION_SOURCES),
        initial=(),  # see token_budget_sessions
        feeds="compacted",
        section="5",
    ),
    Metric(
        name="token_budget_compaction_freed_tokens_total",
        kind="counter",
        help="Tokens by which compactions lowered the windows.",
        labels=_per_agent(source=COMPACTION_SOURCES),
        unit="tokens",
        initial=(),  # see token_budget_sessions
        feeds="compacted",
        section="5",
    ),
    Metric(
        name="token_budget_session_exhaustions",
        kind="histogram",
        help="Exhaustions of a session, over its whole life.",
        labels=_per_agent(),
        buckets=(0.0, 2.0),
        feeds="closed",
        section="3.5",
    ),
    # The sidecar itself
    Metric(
        name="token_budget_events_total",
        kind="counter",
        help="Commands carried out, by where they came in.",
        labels=_plain(receiver=RECEIVERS, type=EVENT_TYPES),
        initial=(),
        feeds="every command",
        section="4",
    ),
    Metric(
        name="token_budget_events_rejected_total",
        kind="counter",
        help="Requests and events that were answered with an error.",
        labels=_plain(receiver=RECEIVERS, reason=REJECTIONS),
        initial=(("api", "invalid"), ("events", "invalid")),
        feeds="receivers",
        section="4",
    ),
    Metric(
        name="token_budget_forwarded_total",
        kind="counter",
        help="Payloads of the agent's own telemetry that were passed on downstream.",
        labels=_plain(signal=SIGNALS, result=FORWARDED),
        initial=(),  # begins with a downstream endpoint to forward to
        feeds="the tee of the OTLP receiver",
        section="5",
    ),
    Metric(
        name="token_budget_journal_append_duration_seconds",
        kind="histogram",
        help="Time to make one turn's entries durable.",
        unit="seconds",
        buckets=(0.01, 0.1),
        feeds="the ledger's turns",
        section="4",
    ),
    Metric(
        name="token_budget_journal_entries_total",
        kind="counter",
        help="Entries made durable.",
        feeds="the ledger's turns",
        section="4",
    ),
    Metric(
        name="token_budget_journal_up",
        kind="gauge",
        help="Whether the journal can be written: 1 or 0.",
        feeds="the ledger",
        section="4",
    ),
    Metric(
        name="token_budget_dropped_total",
        kind="counter",
        help="What was dropped because a bound was reached or a peer was away.",
        labels=_plain(what=DROPPED, reason=DROP_REASONS),
        initial=(("agent_label", "max_agents"),),
        feeds="exporters, the tee",
    ),
    Metric(
        name="token_budget_event_loop_lag_seconds",
        kind="histogram",
        help="How much later than planned the event loop woke a timer.",
        unit="seconds",
        buckets=(0.01, 0.1),
        feeds="a timer of the exporter",
    ),
    Metric(
        name="token_budget_build_info",
        kind="info",
        help="The versions that run: always 1.",
        labels=_plain(version=OPEN, python=OPEN),
        feeds="the installed package",
    ),
)

BY_NAME: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in CATALOG})


def markdown(metrics: Sequence[Metric] = CATALOG) -> str:
    """The catalogue as a Markdown table, for the reference."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        kind = metric.kind + (" of " + ", ".join(f"{bound:g}" for bound in metric.buckets) if metric.buckets else "")
        name = f"`{metric.name}`" + (" (detail)" if metric.detail else "")
        labels = ", ".join(metric.labels)
        rows.append(f"| {name} | {kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"
