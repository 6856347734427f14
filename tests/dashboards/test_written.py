"""What is committed is what the code builds."""

import json

import promql_parser
import pytest
import yaml

from dashboards import __main__ as command
from dashboards.house import TAG, UIDS
from dashboards.promql import series
from dashboards.written import Places, written
from sidecar.exporters.catalog import CATALOG
from tests.dashboards.reading import DASHBOARDS, FOLDER, RULES, dashboard, panels

WRITTEN = written()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_committed_file_equals_what_the_code_builds(name):
    assert (FOLDER / name).read_text() == WRITTEN[name], "run `python -m dashboards`"


def test_nothing_else_is_committed_beside_what_is_built():
    assert {str(path.relative_to(FOLDER)) for path in (*DASHBOARDS, *RULES)} == set(WRITTEN)


def test_the_command_writes_every_file_and_its_links_lead_where_it_is_told(tmp_path, capsys):
    flags = ["--to", str(tmp_path), "--grafana", "https://grafana.test/", "--runbooks", "https://docs.test/runbooks"]
    assert command.main(flags) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(WRITTEN)
    alerts = (tmp_path / "prometheus" / "windows.yaml").read_text()
    assert "runbook_url: https://docs.test/runbooks#tokenbudgetwindowcritical" in alerts
    assert "dashboard_url: https://grafana.test/d/token-budget-agent?var-agent=" in alerts


def test_places_have_defaults_that_say_where_to_look():
    assert Places().runbook("TokenBudgetJournalDown") == "dashboards/runbooks.md#tokenbudgetjournaldown"


@pytest.mark.parametrize(
    ("metric", "labels", "message"),
    [
        ("token_budget_unheard_of", {}, "no metric token_budget_unheard_of"),
        ("token_budget_window_used_tokens", {"component": "working_memory"}, "no label component"),
        ("token_budget_exhaustions_total", {"component": "long_term"}, "never long_term"),
        ("token_budget_allocations_total", {"outcome": "=~full|some"}, "never some"),
        ("token_budget_allocation_duration_seconds", {}, "no metric"),
        ("token_budget_allocation_duration_seconds_bucket", {"le": "0.5"}, "never 0.5"),
    ],
)
def test_what_the_catalogue_does_not_have_cannot_be_written(metric, labels, message):
    with pytest.raises(ValueError, match=message):
        series(metric, **labels)


def test_a_selector_is_written_as_prometheus_reads_it():
    text = series("token_budget_allocations_total", outcome="=~partial|denied", component="!=system_context", agent="a")
    assert text == 'token_budget_allocations_total{outcome=~"partial|denied", component!="system_context", agent="a"}'
    promql_parser.parse(text)


# --- what all dashboards share --------------------------------------------------------------------------------------


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def board(request):
    return dashboard(request.param)


def everything(board):
    """All that stands on a dashboard, its rows too."""
    return [*board["panels"], *(panel for row in board["panels"] for panel in row.get("panels", []))]


def test_a_dashboard_keeps_its_address():
    assert {path.stem: dashboard(path)["uid"] for path in DASHBOARDS} == UIDS
    assert UIDS == {  # bookmarks and alerts hold these
        "fleet": "token-budget-fleet",
        "agent": "token-budget-agent",
        "objectives": "token-budget-objectives",
        "sidecar": "token-budget-sidecar",
    }


def test_dashboards_lead_to_each_other_and_keep_what_was_chosen(board):
    (link,) = board["links"]
    assert (link["type"], link["tags"]) == ("dashboards", [TAG])
    assert link["keepTime"] is True
    assert link["includeVars"] is True
    assert TAG in board["tags"]


def test_links_within_panels_lead_to_dashboards_and_variables_that_there_are():
    links = [
        link
        for path in DASHBOARDS
        for panel in panels(dashboard(path))
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    assert links
    for link in links:
        path, _, query = link["url"].partition("?")
        (target,) = [dashboard(each) for each in DASHBOARDS if f"/d/{dashboard(each)['uid']}" == path]
        names = {each["name"] for each in target["templating"]["list"]}
        assert "var-agent=${__data.fields.agent}" in query
        assert "agent" in names


def test_cleanups_and_versions_are_annotations(board):
    annotations = {each["name"]: each for each in board["annotations"]["list"]}
    assert set(annotations) == {"Versions", "Cleanups"}
    assert annotations["Versions"]["enable"] is True
    # a fleet has too many to show unasked
    assert annotations["Cleanups"]["enable"] is (board["uid"] == UIDS["agent"])
    assert all(each["datasource"]["uid"] == "$datasource" for each in annotations.values())


def test_panels_stand_side_by_side_and_fill_their_rows(board):
    taken: set[tuple[int, int]] = set()
    for panel in everything(board):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken)), "a hole is left"


def test_every_panel_has_an_id_of_its_own(board):
    ids = [each["id"] for each in everything(board)]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids


def test_exemplars_are_shown_wherever_the_sidecar_has_them():
    with_exemplars = (
        "token_budget_exhaustions_total",
        "token_budget_allocation_duration_seconds",
        "token_budget_cleanup_duration_seconds",
    )
    graphs = [panel for path in DASHBOARDS for panel in panels(dashboard(path)) if panel["type"] == "timeseries"]
    shown = {
        metric
        for panel in graphs
        for target in panel["targets"]
        for metric in with_exemplars
        if metric in target["expr"] and target.get("exemplar")
    }
    assert shown == set(with_exemplars)


def test_what_only_detail_shows_says_so():
    detail = [metric.name for metric in CATALOG if metric.detail]
    for path in DASHBOARDS:
        for panel in panels(dashboard(path)):
            needed = any(name in target["expr"] for target in panel["targets"] for name in detail)
            assert needed == ("`metrics_detail`" in panel["description"]), panel["title"]


def test_the_same_thing_has_the_same_colour_everywhere():
    colours: dict[str, set[str]] = {}
    for path in DASHBOARDS:
        for panel in panels(dashboard(path)):
            for override in panel["fieldConfig"]["overrides"]:
                for each in override["properties"]:
                    if each["id"] == "color":
                        colours.setdefault(override["matcher"]["options"], set()).add(json.dumps(each["value"]))
    assert {"working_memory", "critical", "denied", "noop"} <= set(colours)
    assert all(len(each) == 1 for each in colours.values())


def test_exemplars_lead_to_their_trace_where_grafana_is_provisioned_as_shown():
    shown = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "token-budget.yaml").read_text())
    prometheus, traces = shown["datasources"]
    (destination,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == "trace_id"
    assert destination["datasourceUid"] == traces["uid"]
