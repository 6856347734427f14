"""Every rule of Grafana's dashboard-linter, on every dashboard and every panel type, with no exclusion.

The linter is a Go program, so its rules are written down here (github.com/grafana/dashboard-linter, folder lint), under
its names. Where the linter looks at some panel types only, these look at all.
"""

import re

import promql_parser
import pytest

from tests.dashboards.reading import DASHBOARDS, SAMPLE, dashboard, expand, nodes, panel_expressions, panels, selectors

RANGE_FUNCTIONS = {"rate", "irate", "increase"}
# The units of Grafana that are used here (packages/grafana-data/src/valueFormats/categories.ts).
UNITS = {"none", "short", "percent", "percentunit", "s", "cpm", "bytes"}
BY_UID = {"type": "prometheus", "uid": "$datasource"}


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def board(request):
    return dashboard(request.param)


def variables(board, type):
    return [each for each in board["templating"]["list"] if each["type"] == type]


def the(board, name):
    (variable,) = [each for each in board["templating"]["list"] if each["name"] == name]
    return variable


def test_template_datasource_rule_one_data_source_is_chosen_by_a_variable(board):
    (source,) = variables(board, "datasource")
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")


@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_job_and_instance_rules_both_are_variables_of_several_values(board, name):
    variable = the(board, name)
    assert variable["datasource"] == BY_UID
    assert variable["type"] == "query"
    assert variable["label"] == name.title()
    assert variable["multi"] is True
    assert variable["includeAll"] is True
    assert variable["allValue"] == ".+"


def test_template_label_promql_rule_queries_of_variables_are_valid(board):
    for variable in variables(board, "query"):
        query = re.fullmatch(r"label_values\((.+), [a-z]+\)", variable["query"])
        assert query, variable["query"]
        promql_parser.parse(expand(query[1]))


def test_template_on_time_change_reload_rule_variables_follow_the_time_shown(board):
    for variable in variables(board, "query"):
        assert variable["refresh"] == 2, variable["name"]


def test_panel_datasource_rule_every_panel_and_target_uses_the_variable(board):
    for panel in panels(board):
        assert panel["datasource"] == BY_UID, panel["title"]
        assert all(target["datasource"] == BY_UID for target in panel["targets"]), panel["title"]


def test_panel_title_description_rule_every_panel_has_both(board):
    for panel in panels(board):
        assert panel["title"].strip()
        assert panel["description"].strip().endswith("."), panel["title"]


def test_panel_units_rule_every_panel_has_a_unit_that_there_is(board):
    for panel in panels(board):
        units = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            units += [each["value"] for each in override["properties"] if each["id"] == "unit"]
        assert set(units) <= UNITS, panel["title"]


def test_panel_no_targets_rule_every_panel_asks_something(board):
    for panel in panels(board):
        assert panel["targets"], panel["title"]


def test_target_promql_rule_every_expression_parses(board):
    for expression in panel_expressions(board):
        promql_parser.parse(expand(expression.text))


def test_target_logql_rules_nothing_is_asked_of_loki(board):
    assert all(target["datasource"]["type"] == "prometheus" for panel in panels(board) for target in panel["targets"])


def test_target_rate_interval_rule_rates_look_back_by_rate_interval_and_nothing_else_does(board):
    odd = dict(SAMPLE, **{"$__rate_interval": "8191s"})
    for expression in panel_expressions(board):
        for node, around in nodes(expand(expression.text, odd)):
            if isinstance(node, promql_parser.MatrixSelector):
                function = around[-1].func.name
                by_rate_interval = node.range.total_seconds() == 8191
                assert by_rate_interval == (function in RANGE_FUNCTIONS), expression


@pytest.mark.parametrize("name", ["job", "instance"])
def test_target_job_and_instance_rules_every_selector_has_both(board, name):
    values = dict(SAMPLE, **{f"${name}": f"<{name}>"})
    for expression in panel_expressions(board):
        for selector in selectors(expand(expression.text, values)):
            matchers = [(each.name, each.op, each.value) for each in selector.matchers.matchers]
            assert (name, promql_parser.MatchOp.Re, f"<{name}>") in matchers, expression


def test_target_counter_agg_rule_counters_are_read_as_growth(board):
    for expression in panel_expressions(board):
        for node, around in nodes(expand(expression.text)):
            if isinstance(node, promql_parser.VectorSelector) and (node.name or "").endswith("_total"):
                assert isinstance(around[-1], promql_parser.MatrixSelector), expression
                assert around[-2].func.name in RANGE_FUNCTIONS, expression


def test_uneditable_dashboard_rule_changes_are_made_in_code(board):
    assert board["editable"] is False
