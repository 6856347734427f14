"""The catalogue says what SPEC section 6 says, and nothing else."""

import re

import pytest

from sidecar.budget.commands import EVENTS
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import STANDARD
from sidecar.exporters.catalog import BY_NAME, CATALOG, markdown
from sidecar.exporters.metric import COMPONENT_OF_STEP, EVENT_TYPES, Metric

# SPEC section 6, written out: every metric and its labels, in the order of its table.
SPEC = {
    "token_budget_sessions": "agent mode state",
    "token_budget_window_total_tokens": "agent",
    "token_budget_window_used_tokens": "agent",
    "token_budget_window_unattributed_tokens": "agent",
    "token_budget_window_pending_tokens": "agent",
    "token_budget_window_utilization_ratio": "agent",
    "token_budget_window_utilization_max_ratio": "agent",
    "token_budget_window_sessions": "agent status",
    "token_budget_window_status_entered_total": "agent status",
    "token_budget_window_status_seconds_total": "agent status",
    "token_budget_window_call_utilization_ratio": "agent",
    "token_budget_component_allocated_tokens": "agent component",
    "token_budget_component_used_tokens": "agent component",
    "token_budget_component_reclaimable_tokens": "agent component",
    "token_budget_component_borrowed_tokens": "agent component",
    "token_budget_component_utilization_ratio": "agent component",
    "token_budget_component_utilization_max_ratio": "agent component",
    "token_budget_component_sessions": "agent component status",
    "token_budget_exhaustions_total": "agent component mode",
    "token_budget_allocations_total": "agent component outcome",
    "token_budget_requested_tokens_total": "agent component",
    "token_budget_granted_tokens_total": "agent component",
    "token_budget_allocation_duration_seconds": "",
    "token_budget_cleanups_total": "agent component trigger result",
    "token_budget_cleanup_duration_seconds": "component",
    "token_budget_cleanup_freed_tokens_total": "agent component step",
    "token_budget_cleanup_confirmed_tokens_total": "agent component step",
    "token_budget_readmitted_tokens_total": "agent component",
    "token_budget_directives_pending": "agent",
    "token_budget_directives_oldest_age_seconds": "agent",
    "token_budget_directives_failed_total": "agent",
    "token_budget_share_adjustments_total": "agent component direction",
    "token_budget_prediction_error_ratio": "component predictor",
    "token_budget_exhaustion_eta_seconds": "agent",
    "token_budget_compactions_total": "agent source",
    "token_budget_compaction_freed_tokens_total": "agent source",
    "token_budget_session_exhaustions": "agent",
    "token_budget_events_total": "receiver type",
    "token_budget_events_rejected_total": "receiver reason",
    "token_budget_forwarded_total": "signal result",
    "token_budget_journal_append_duration_seconds": "",
    "token_budget_journal_entries_total": "",
    "token_budget_journal_up": "",
    "token_budget_dropped_total": "what reason",
    "token_budget_event_loop_lag_seconds": "",
    "token_budget_build_info": "version python",
}
# Beyond the contract, and so shown with details only.
MORE = {"token_budget_window_forecast_error_ratio": "calls"}
HISTOGRAMS = {
    "token_budget_window_call_utilization_ratio",
    "token_budget_allocation_duration_seconds",
    "token_budget_cleanup_duration_seconds",
    "token_budget_prediction_error_ratio",
    "token_budget_session_exhaustions",
    "token_budget_journal_append_duration_seconds",
    "token_budget_event_loop_lag_seconds",
}

each_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)


def test_the_catalogue_is_the_table_of_the_contract():
    assert {metric.name: " ".join(metric.labels) for metric in CATALOG} == {**SPEC, **MORE}
    assert all(BY_NAME[name].detail for name in MORE)
    assert len(BY_NAME) == len(CATALOG), "a name is there twice"


def test_the_histograms_are_those_of_the_contract():
    assert {metric.name for metric in CATALOG if metric.kind == "histogram"} - set(MORE) == HISTOGRAMS


@each_metric
def test_no_metric_knows_sessions_by_name(metric: Metric):
    assert not {"session", "session_id", "item", "model"} & set(metric.labels)


@each_metric
def test_total_stands_on_counters_only_and_the_unit_ends_the_name(metric: Metric):
    counts = metric.kind == "counter"
    assert metric.name.endswith("_total") == counts
    if metric.unit:
        assert metric.unit in {"tokens", "seconds", "ratio"}
        assert metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


@each_metric
def test_the_help_is_one_plain_sentence(metric: Metric):
    assert re.fullmatch(r"[A-Z][^\\\n\"]+\.", metric.help), "it is written into HELP as it is"


@each_metric
def test_series_begin_with_label_values_that_the_catalogue_lists(metric: Metric):
    lists = [values for label, values in metric.labels.items() if label != "agent"]
    for series in metric.initial_series():
        assert len(series) == len(lists)
        assert all(value in values for value, values in zip(series, lists, strict=True)), series


def test_a_component_has_the_steps_of_its_own_strategy_only():
    strategies = {(name, step) for name in COMPONENTS for step in STANDARD.components[name].steps}
    for name in ("token_budget_cleanup_freed_tokens_total", "token_budget_cleanup_confirmed_tokens_total"):
        assert set(BY_NAME[name].initial_series()) == strategies
    assert {(component, step) for step, component in COMPONENT_OF_STEP.items()} == strategies


def test_every_command_that_may_come_as_an_event_is_an_event_type():
    assert set(EVENTS) <= set(EVENT_TYPES)


def test_every_problem_that_receivers_know_is_a_reason():
    from sidecar.receivers import problems

    names = {kind.name for kind in vars(problems).values() if isinstance(kind, problems.Kind)}
    (reasons,) = (
        values for label, values in BY_NAME["token_budget_events_rejected_total"].labels.items() if label == "reason"
    )
    assert names
    assert names <= set(reasons)


def test_the_reference_table_shows_every_metric():
    table = markdown()
    assert table.splitlines()[:2] == ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    rows = table.splitlines()[2:]
    assert len(rows) == len(CATALOG)
    for row, metric in zip(rows, CATALOG, strict=True):
        assert row.startswith(f"| `{metric.name}`")
        assert row.count("|") == 5, "a cell must not hold the sign that separates cells"
        assert ("(detail)" in row) == metric.detail
        assert metric.help in row
