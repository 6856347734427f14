"""Dashboards and rules use the metrics that there are, and all of them."""

from sidecar.exporters.catalog import BY_NAME, CATALOG
from tests.dashboards.reading import (
    DASHBOARDS,
    annotation_expressions,
    dashboard,
    expand,
    panel_expressions,
    rule_expressions,
    rules,
    selectors,
)

# Metrics that nothing shows, and why. None at present: whoever adds one decides here or draws it.
UNSHOWN: dict[str, str] = {}
# Not ours: the scrape's own, the client library's, and those of kube-state-metrics.
FOREIGN = {
    "up",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "kube_pod_container_info",
    "kube_pod_init_container_info",
    "kube_pod_status_phase",
}


def expressions():
    for path in DASHBOARDS:
        yield from panel_expressions(dashboard(path))
        yield from annotation_expressions(dashboard(path))
    yield from rule_expressions()


def used():
    """The names that expressions select, each with where."""
    return {selector.name: each.where for each in expressions() for selector in selectors(expand(each.text))}


def family(name):
    """The metric of the catalogue that a series belongs to."""
    whole, _, part = name.rpartition("_")
    if part in {"bucket", "count", "sum"} and whole in BY_NAME and BY_NAME[whole].kind == "histogram":
        return whole
    return name


def test_every_metric_that_is_used_is_in_the_catalogue_or_recorded_or_not_ours():
    recorded = {rule["record"] for _, rule in rules() if "record" in rule}
    for name, where in used().items():
        assert family(name) in BY_NAME or name in recorded or name in FOREIGN, where


def test_every_metric_of_the_catalogue_is_used_or_says_why_not():
    families = {family(name) for name in used()}
    assert {metric.name for metric in CATALOG} - families == set(UNSHOWN)


def test_everything_that_is_recorded_is_read_by_an_alert():
    recorded = {rule["record"] for _, rule in rules() if "record" in rule}
    assert recorded <= set(used())


def test_every_label_that_is_matched_or_grouped_by_is_one_that_there_is():
    target = {"job", "instance", "namespace", "pod", "le"}
    for each in expressions():
        for selector in selectors(expand(each.text)):
            if family(selector.name) in BY_NAME:
                labels = {matcher.name for matcher in selector.matchers.matchers}
                assert labels <= {*BY_NAME[family(selector.name)].labels, *target}, each.where


def test_variables_read_metrics_that_are_always_there():
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            if variable["type"] == "query":
                name = variable["query"].removeprefix("label_values(").partition("{")[0].partition(",")[0]
                assert not BY_NAME[name].detail
                assert BY_NAME[name].kind in {"gauge", "info"}
