"""What every dashboard shares: address, variables, links, annotations, and rows of panels.

A dashboard is written as its rows; where things stand follows from their widths and heights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

from dashboards.panels import DATASOURCE, AnyPanel
from dashboards.promql import rate, shown, total

TAG: Final = "token-budget"
UIDS: Final = {name: f"token-budget-{name}" for name in ("fleet", "agent", "objectives", "sidecar")}


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and what stands below it; `folded` where only some look for it."""

    title: str
    panels: Sequence[AnyPanel]
    folded: bool = False


def page(
    name: str, title: str, description: str, rows: Sequence[Row], *variables: dashboard.QueryVariable
) -> model.Dashboard:
    """A dashboard: its rows, and everything that all dashboards have."""
    builder = (
        dashboard.Dashboard(f"Token budget / {title}")
        .uid(UIDS[name])
        .description(description)
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Token budget")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(chooser("job", "Job", "token_budget_build_info", several=True))
        .with_variable(chooser("instance", "Instance", 'token_budget_build_info{job=~"$job"}', several=True))
        .annotation(_versions())
        .annotation(_cleanups(shown_first=name == "agent"))
    )
    for variable in variables:
        builder = builder.with_variable(variable)
    for row in rows:
        heading = dashboard.Row(row.title)
        if row.folded:
            for panel in row.panels:
                heading = heading.with_panel(panel)
            builder = builder.with_row(heading)
        else:
            builder = builder.with_row(heading)
            for panel in row.panels:
                builder = builder.with_panel(panel)
    return _numbered(builder.build())


def _numbered(built: model.Dashboard) -> model.Dashboard:
    """Give each panel an id of its own: links to a panel keep to it."""
    number = 0
    for panel in built.panels or ():
        number += 1
        panel.id_val = number
        for inner in getattr(panel, "panels", None) or ():
            number += 1
            inner.id_val = number
    return built


def chooser(name: str, label: str, selector: str, *, several: bool) -> dashboard.QueryVariable:
    """A variable: the values that a label has in the time that the dashboard shows, one of them or several."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(f"label_values({selector}, {name})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        everything: Any = model.VariableOption(text="All", value="$__all", selected=True)
        variable = variable.all_value(".+").current(everything)
    return variable


def _versions() -> dashboard.AnnotationQuery:
    """A mark where a version of the sidecar was first seen."""
    running = shown("token_budget_build_info")
    return (
        dashboard.AnnotationQuery()
        .name("Versions")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(f"count by (version) ({running}) unless count by (version) ({running} offset $__rate_interval)")
        .title_format("Sidecar {{version}}")
        .tag_keys("version")
    )


def _cleanups(*, shown_first: bool) -> dashboard.AnnotationQuery:
    """A mark where a cleanup freed something: shown for one agent; for a fleet, on demand."""
    chosen = {"agent": "$agent"} if shown_first else {}
    freed = shown("token_budget_cleanups_total", result="freed", **chosen)
    return (
        dashboard.AnnotationQuery()
        .name("Cleanups")
        .datasource(DATASOURCE)
        .enable(shown_first)
        .icon_color("orange")
        .expr(f"{total(rate(freed), 'agent', 'component', 'trigger')} > 0")
        .title_format("Cleanup of {{component}}")
        .text_format("{{agent}}, by {{trigger}}")
        .tag_keys("component,trigger")
    )
