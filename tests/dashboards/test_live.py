"""Real Prometheus scrapes the real sidecar while recorded sessions replay; real Alertmanager passes on what it says."""

import pytest

from dashboards.promql import over_range, shown
from tests.dashboards.reading import (
    DASHBOARDS,
    alerts,
    annotation_expressions,
    dashboard,
    expand,
    panels,
    rules,
    selectors,
)
from tests.dashboards.stack import fetch, wait_for

# Scraped every second for about half a minute: rates look back over all of it.
VALUES = {
    "$__rate_interval": "2m",
    "$__interval_ms": "1000",
    "$__interval": "1s",
    "$__range": "1m",
    "$instance": ".+",
    "$agent": "claude-code",
    "$job": ".+",
}
NO_DOWNSTREAM = "no endpoint is set that telemetry is forwarded to"
NO_KUBERNETES = "there is no kube-state-metrics, and targets have no pod, outside Kubernetes"
# What is rightly empty here, and why.
EMPTY = {
    "token-budget-sidecar: Not forwarded A": NO_DOWNSTREAM,
    "token-budget-sidecar: Forwarded A": NO_DOWNSTREAM,
    'TokenBudgetForwardingFailing: token_budget_forwarded_total{result="failed"}': NO_DOWNSTREAM,
    "TokenBudgetForwardingFailing: token_budget_forwarded_total{}": NO_DOWNSTREAM,
    'TokenBudgetSidecarAbsent: kube_pod_container_info{container="token-budget-sidecar"}': NO_KUBERNETES,
    'TokenBudgetSidecarAbsent: kube_pod_init_container_info{container="token-budget-sidecar"}': NO_KUBERNETES,
    'TokenBudgetSidecarAbsent: kube_pod_status_phase{phase="Running"}': NO_KUBERNETES,
    'TokenBudgetSidecarAbsent: token_budget_build_info{pod!=""}': NO_KUBERNETES,
}


def expected_empty(*where):
    """Those of the table that are to be empty here."""
    return {each for each in EMPTY if each.startswith(where)}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_of_a_dashboard_gets_data_or_is_rightly_empty(watched, path):
    board = dashboard(path)
    empty = set()
    for panel in panels(board):
        for target in panel["targets"]:
            query = expand(target["expr"], VALUES)
            if not (watched.series(query) if target.get("instant") else watched.history(query, 60, 1)):
                empty.add(f"{board['uid']}: {panel['title']} {target['refId']}")
    assert empty == expected_empty(f"{board['uid']}: ")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_annotations_and_variables_of_a_dashboard_get_data(watched, path):
    board = dashboard(path)
    for annotation in annotation_expressions(board):
        assert watched.history(expand(annotation.text, VALUES | {"$__rate_interval": "5s"}), 60, 1), annotation.where
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector = expand(variable["query"].removeprefix("label_values(").rpartition(",")[0], VALUES)
            assert all(each["metric"].get(variable["name"]) for each in watched.series(selector)), variable["name"]


def test_every_recording_rule_records_or_is_rightly_empty(watched):
    records = [rule["record"] for _, rule in rules() if "record" in rule]
    assert {each for each in records if not watched.history(each, 60, 1)} == expected_empty("job_")


def test_everything_that_an_alert_looks_at_is_there_or_rightly_absent(watched):
    empty = {
        f"{rule['alert']}: {selector}"
        for rule in alerts()
        for selector in selectors(rule["expr"])
        if not watched.history(str(selector), 60, 1)
    }
    assert empty == expected_empty("TokenBudget")


def test_prometheus_evaluates_all_rules_without_an_error(watched):
    groups = fetch(f"{watched.prometheus}/api/v1/rules")["data"]["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == len(list(rules()))
    assert [rule["name"] for rule in evaluated if rule["health"] != "ok"] == []


def test_sums_over_the_time_shown_count_each_increase_once(watched):
    query = over_range(shown("token_budget_journal_entries_total"))
    as_grafana = VALUES | {"$__rate_interval": "4s", "$__range": "2m"}  # for scrapes of a second
    (summed,) = watched.series(expand(query, as_grafana))
    (grown,) = watched.series("max_over_time(token_budget_journal_entries_total[2m])")
    # Rates look back no further than to a counter's 0, so that they take its first increases for smaller than they are.
    assert 0.7 < float(summed["value"][1]) / float(grown["value"][1]) < 1.05


def test_alertmanager_delivers_that_a_window_is_critical(watched):
    def delivered():
        return [each for each in watched.inbox.alerts if each["labels"]["alertname"] == "TokenBudgetWindowCritical"]

    (alert, *_) = wait_for(delivered)
    assert alert["status"] == "firing"
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["agent"] == "overflowing & co"
    assert alert["annotations"]["summary"] == "A context window of overflowing & co is about to overflow"
    assert alert["annotations"]["dashboard_url"] == "/d/token-budget-agent?var-agent=overflowing+%26+co"
    assert alert["annotations"]["runbook_url"] == "dashboards/runbooks.md#tokenbudgetwindowcritical"
