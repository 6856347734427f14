"""Panels: what is particular to one is said, what all of them share is here.

The rules of Grafana's dashboard-linter hold for all of them, whatever their type; tests/dashboards holds the written
JSON to them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from sidecar.exporters.catalog import BY_NAME

AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel

DATASOURCE: Final = options.DataSourceRef(type_val="prometheus", uid="$datasource")
WIDTH: Final = 24  # columns of Grafana's grid

GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "#8e8e8e"
# The same thing has the same colour everywhere. Statuses and outcomes go from good to bad.
COLOURS: Final = {
    "system_context": "blue",
    "working_memory": "orange",
    "knowledge_base": "green",
    "agent_context": "purple",
    "interaction_buffer": "yellow",
    "unattributed": GREY,
    "low": GREEN,
    "moderate": YELLOW,
    "high": ORANGE,
    "critical": RED,
    "full": GREEN,
    "borrowed": "blue",
    "after_cleanup": YELLOW,
    "partial": ORANGE,
    "denied": RED,
    "freed": GREEN,
    "noop": GREY,
    "delivered": GREEN,
    "failed": RED,
    "up to 75 %": GREEN,
    "75 to 90 %": YELLOW,
    "90 to 100 %": ORANGE,
    "over 100 %": RED,
    "never": GREEN,
    "once or twice": YELLOW,
    "three times or more": RED,
    "used": "blue",
}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its lines are called. `exemplars`: it counts or times something that has traces."""

    expression: str
    legend: str = ""
    exemplars: bool = False

    def target(self, letter: str, *, instant: bool = False, rows: bool = False) -> prometheus.Dataquery:
        """The query as a panel's target."""
        target = prometheus.Dataquery().ref_id(letter).expr(self.expression).datasource(DATASOURCE)
        target = target.legend_format(self.legend) if self.legend else target
        target = target.format(PromQueryFormat.TABLE) if rows else target
        target = target.exemplar(True) if self.exemplars else target
        return target.instant() if instant else target.range()


def letters(queries: Sequence[Query]) -> Iterable[tuple[str, Query]]:
    """The queries under the letters that Grafana gives them."""
    return zip("ABCDEFGHIJKLMNOP", queries, strict=False)


def _describe(description: str, queries: Sequence[Query]) -> str:
    """The description, and what the operator must turn on to see the panel."""
    used = {name for name, metric in BY_NAME.items() if metric.detail and any(name in q.expression for q in queries)}
    return f"{description} Shown with `metrics_detail` only." if used else description


def _steps(bounds: Sequence[tuple[float, str]], base: str) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=base), *(model.Threshold(value=at, color=to) for at, to in bounds)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def graph(  # noqa: PLR0913 - what a graph may be told, all of it with a default
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    percent: bool = False,
    dashed: Sequence[str] = (),
    top: float | None = None,
    bounds: Sequence[tuple[float, str]] = (),
    table_legend: bool = True,
) -> timeseries.Panel:
    """Lines over time, or areas on each other (`stacked`), of a whole where `percent`. `dashed`: lines that bound."""
    legend = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    if table_legend:
        legend = legend.display_mode(options.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])
    else:
        legend = legend.display_mode(options.LegendDisplayMode.LIST)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_describe(description, queries))
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(height)
        .line_width(1 if stacked else 2)
        .fill_opacity(60 if stacked else 8)
        .show_points(options.VisibilityMode.NEVER)
        .legend(legend)
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.MULTI)
            .sort(options.SortOrder.NONE if stacked else options.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .targets([query.target(letter) for letter, query in letters(queries)])
    )
    if top is not None:
        panel = panel.axis_soft_max(top)
    if stacked:
        mode = options.StackingMode.PERCENT if percent else options.StackingMode.NORMAL
        panel = panel.stacking(common.StackingConfig().mode(mode).group("A"))
    if bounds:
        panel = panel.thresholds(_steps(bounds, "transparent")).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in COLOURS.items():
        if any(_may_say(query, name) for query in queries):
            panel = panel.override_by_name(name, [_fixed(colour)])
    for name in dashed:
        panel = panel.override_by_name(
            name,
            [
                _fixed(GREY),
                model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
                model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
                model.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "A"}),
            ],
        )
    return panel


def _may_say(query: Query, name: str) -> bool:
    """Whether a line of the query may be called so: by its legend, or by a label that the legend shows."""
    if query.legend == name:
        return True
    shown_label = query.legend.removeprefix("{{").removesuffix("}}")
    return any(
        metric in query.expression and name in entry.labels.get(shown_label, ()) for metric, entry in BY_NAME.items()
    )


def figure(  # noqa: PLR0913 - as above
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    bounds: Sequence[tuple[float, str]] = (),
    base: str = "text",
    none: str = "none",
    decimals: int | None = None,
) -> stat.Panel:
    """One number of now or of the whole range. `none`: what it says where there is nothing."""
    panel = (
        stat.Panel()
        .title(title)
        .description(_describe(description, (query,)))
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(none)
        .span(width)
        .height(4)
        .graph_mode(options.BigValueGraphMode.NONE)
        .color_mode(options.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(_steps(bounds, base))
        .targets([query.target("A", instant=True)])
    )
    return panel if decimals is None else panel.decimals(decimals)


def ranking(
    title: str, description: str, unit: str, query: Query, *, width: int = 12, height: int = 9
) -> bargauge.Panel:
    """The highest of many as bars, over the whole range."""
    return (
        bargauge.Panel()
        .title(title)
        .description(_describe(description, (query,)))
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .no_value("none")
        .span(width)
        .height(height)
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(_steps((), "orange"))
        .targets([query.target("A", instant=True)])
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, its unit, and the expression whose value it shows."""

    heading: str
    unit: str
    expression: str
    bounds: Sequence[tuple[float, str]] = ()


def listing(
    title: str,
    description: str,
    by: str,
    columns: Sequence[Column],
    *,
    worst_first: str,
    link: str,
    width: int = WIDTH,
    height: int = 9,
) -> table.Panel:
    """A table with a line for each value of the label `by`, which leads to `link`."""
    queries = [Query(column.expression) for column in columns]
    named = {f"Value #{letter}": column.heading for (letter, _), column in zip(letters(queries), columns, strict=True)}
    panel = (
        table.Panel()
        .title(title)
        .description(_describe(description, queries))
        .datasource(DATASOURCE)
        .unit("short")
        .no_value("none")
        .span(width)
        .height(height)
        .targets([query.target(letter, instant=True, rows=True) for letter, query in letters(queries)])
        .with_transformation(
            model.DataTransformerConfig(id_val="joinByField", options={"byField": by, "mode": "outer"})
        )
        .with_transformation(
            model.DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"pattern": rf"^({by}|Value #[A-Z])$"}}
            )
        )
        .with_transformation(model.DataTransformerConfig(id_val="organize", options={"renameByName": named}))
        .sort_by([common.TableSortByFieldState().display_name(worst_first).desc(True)])
        .override_by_name(
            by, [model.DynamicConfigValue(id_val="links", value=[{"title": f"Open this {by}", "url": link}])]
        )
    )
    for column in columns:
        properties = [
            model.DynamicConfigValue(id_val="unit", value=column.unit),
            model.DynamicConfigValue(id_val="decimals", value=0),
        ]
        if column.bounds:
            steps = _steps(column.bounds, "transparent").build()
            properties += [
                model.DynamicConfigValue(id_val="thresholds", value=steps),
                model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background"}),
            ]
        panel = panel.override_by_name(column.heading, properties)
    return panel
