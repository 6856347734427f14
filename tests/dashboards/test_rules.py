"""Recording rules and alerts: well made, explained, and tested by Prometheus' own tool."""

import re
import subprocess

import promql_parser
import pytest
import yaml

from dashboards.alerting import burning
from dashboards.house import UIDS
from dashboards.recording import error_ratio
from dashboards.service_levels import OBJECTIVES, WINDOWS
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import STANDARD
from tests.dashboards.reading import DASHBOARDS, FOLDER, RULE_TESTS, RULES, alerts, dashboard, panels, rules, words

ALERTS = {rule["alert"]: rule for rule in alerts()}
RUNBOOKS = (FOLDER / "runbooks.md").read_text()
HEADINGS = re.findall(r"^#+ (.+)$", RUNBOOKS, re.MULTILINE)


def cases():
    """Each test of an alert: its name, and the labels of what it expects."""
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for each in test["alert_rule_test"]:
                yield each["alertname"], [expected["exp_labels"] for expected in each["exp_alerts"]]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_prometheus_takes_every_file_of_rules(path, need_program):
    checked = subprocess.run(
        [need_program("promtool"), "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_say_what_they_should(path, need_program):
    tested = subprocess.run(
        [need_program("promtool"), "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stderr + tested.stdout


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_test_that_fires_and_one_that_does_not(name):
    expected = [labels for alert, labels in cases() if alert == name]
    assert any(expected), "no test fires"
    assert not all(expected), "no test keeps quiet"


def test_every_burn_rate_fires_in_a_test():
    fired = {(alert, labels.get("window")) for alert, expected in cases() for labels in expected}
    for objective in OBJECTIVES:
        for burn in objective.burns:
            assert (objective.alert, burn.long) in fired


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']} {rule['labels'].get('window', '')}")
def test_an_alert_says_how_urgent_it_is_what_happens_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    told = rule["annotations"]
    assert 15 <= len(told["summary"].replace("{{ $labels.", "")) <= 90
    assert not told["summary"].endswith(".")
    assert told["description"].endswith(".")
    assert "$value" in told["description"] or rule["alert"] in {"TokenBudgetSidecarDown", "TokenBudgetSidecarAbsent"}
    path, _, query = told["dashboard_url"].partition("?")
    assert path.removeprefix("/d/") in UIDS.values()
    # an alert about an agent opens that agent's dashboard
    assert (query == "var-agent={{ $labels.agent | urlquery }}") == ("$labels.agent" in told["summary"])
    page, _, section = told["runbook_url"].partition("#")
    assert (FOLDER.parent / page).is_file()
    assert section == words(rule["alert"])


def test_every_alert_has_its_section_in_the_runbooks_and_every_section_its_alert():
    sections = [heading for heading in HEADINGS if heading.startswith("TokenBudget")]
    assert sorted(sections) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(name):
    section = RUNBOOKS.partition(f"### {name}\n")[2].partition("\n##")[0]
    assert [word for word in ("**Means**: ", "**Look**: ", "**Do**") if word not in section] == []


def test_links_within_the_runbooks_lead_to_sections():
    anchors = {words(heading) for heading in HEADINGS}
    assert set(re.findall(r"\]\(#([^)]*)\)", RUNBOOKS)) <= anchors


def test_panels_that_the_runbooks_name_are_on_the_dashboards():
    shown = {panel["title"] for path in DASHBOARDS for panel in panels(dashboard(path))}
    shown |= {dashboard(path)["title"].rpartition(" / ")[2] for path in DASHBOARDS}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOKS.replace("\n", " ")))
    assert len(named) > 20
    assert named - shown == set()


def test_what_wakes_somebody_is_rare():
    critical = [name for name, rule in ALERTS.items() if rule["labels"]["severity"] == "critical"]
    assert sorted(critical) == ["TokenBudgetJournalDown", "TokenBudgetWindowCritical"]


def test_the_fixed_component_never_alerts():
    told = ALERTS["TokenBudgetComponentCritical"]["expr"]
    for name in COMPONENTS:
        assert (name in told) != STANDARD.components[name].fixed


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.key)
def test_a_burn_rate_is_one_that_can_be_reached_and_is_recorded(objective):
    recorded = {rule.get("record") for _, rule in rules()}
    for burn in objective.burns:
        assert burn.factor * objective.budget < 1
        assert {burn.long, burn.short} <= set(WINDOWS)
        assert {error_ratio(objective, burn.long), error_ratio(objective, burn.short)} <= recorded
        promql_parser.parse(burning(objective, burn).expression)


def test_rules_are_summed_over_pods_and_keep_who_they_belong_to():
    for _, rule in rules():
        if "record" in rule:
            level = rule["record"].partition(":")[0].split("_")
            assert f"by ({', '.join(level)})" in rule["expr"]
            assert "instance" not in level
