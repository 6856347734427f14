"""Objectives: whether the promises are kept, how much of what may fail is left, and how fast it is used up."""

from grafana_foundation_sdk.models import dashboard as model

from dashboards.house import Row, page
from dashboards.panels import GREEN, ORANGE, RED, WIDTH, YELLOW, AnyPanel, Query, figure, graph
from dashboards.promql import over_range, rate, share, shown, total
from dashboards.service_levels import OBJECTIVES, Objective


def build() -> model.Dashboard:
    """The dashboard."""
    return page(
        "objectives",
        "Objectives",
        "Whether the sidecars keep their promises: decisions, cleanups, predictions, emergencies.",
        [
            Row("Kept, in the time shown", [_kept(each) for each in OBJECTIVES]),
            Row("What is left of what may fail", [_left(each) for each in OBJECTIVES]),
            Row("How fast it burns", [_burn()]),
            *(Row(each.title, _closer(each)) for each in OBJECTIVES),
        ],
    )


def good(objective: Objective) -> str:
    """The selector of the events that were good."""
    return shown(f"{objective.histogram}_bucket", le=str(float(objective.bound)), **dict(objective.labels))


def every(objective: Objective) -> str:
    """The selector of all its events."""
    return shown(f"{objective.histogram}_count", **dict(objective.labels))


def _kept(objective: Objective) -> AnyPanel:
    return figure(
        objective.title,
        f"{objective.promise}: the share that was, in the time shown. The goal is {objective.goal:.0%}.",
        "percentunit",
        Query(share(over_range(good(objective)), over_range(every(objective)))),
        width=WIDTH // len(OBJECTIVES),
        bounds=[(objective.goal, GREEN)],
        base=RED,
        none="none yet",
    )


def _left(objective: Objective) -> AnyPanel:
    failed = f"1 - {share(over_range(good(objective)), over_range(every(objective)))}"
    return figure(
        f"{objective.title}: left",
        f"How much is left of the {objective.budget:.0%} that may fail. Below 0 the objective is missed.",
        "percentunit",
        Query(f"1 - ({failed}) / {objective.budget:g}"),
        width=WIDTH // len(OBJECTIVES),
        bounds=[(0, ORANGE), (0.5, GREEN)],
        base=RED,
        none="all of it",
        decimals=0,
    )


def _burn() -> AnyPanel:
    return graph(
        "Burn rate",
        "How many times faster than allowed each objective uses up what may fail. At 1 it would be used up exactly in "
        "the time that the objective is looked at over. Alerts look at several windows of time together.",
        "none",
        *(
            Query(
                f"(1 - {share(total(rate(good(each))), total(rate(every(each))))}) / {each.budget:g}",
                each.title,
            )
            for each in OBJECTIVES
        ),
        width=WIDTH,
        bounds=[(1, YELLOW), (14.4, RED)],
    )


def _closer(objective: Objective) -> list[AnyPanel]:
    """How the events are spread, and how many they are."""
    labels = dict(objective.labels)
    groups = {"cleanup": "component", "prediction": "predictor", "emergency": "agent"}
    group = groups.get(objective.key)
    if objective.key == "prediction":
        labels = {}  # all predictors beside each other
    by = (group,) if group else ()
    whole = total(rate(shown(f"{objective.histogram}_count", **labels)), *by)
    within = total(rate(shown(f"{objective.histogram}_bucket", le=str(float(objective.bound)), **labels)), *by)
    mean = total(rate(shown(f"{objective.histogram}_sum", **labels)), *by)
    unit, what = {
        "token_budget_prediction_error_ratio": ("percentunit", "error"),
        "token_budget_session_exhaustions": ("short", "exhaustions"),
    }.get(objective.histogram, ("s", "duration"))
    legend = f"{{{{{group}}}}}" if group else "all"
    exemplars = objective.key in {"decision", "cleanup"}
    return [
        graph(
            f"{objective.title} that kept the promise",
            f"{objective.promise}: the share that was" + (f", by {group}." if group else "."),
            "percentunit",
            Query(share(within, whole), legend, exemplars=exemplars),
            width=8,
            top=1,
            bounds=[(objective.goal, GREEN)],
        ),
        graph(
            f"{objective.title}: mean {what}",
            f"The mean {what}" + (f", by {group}." if group else "."),
            unit,
            Query(share(mean, whole), legend, exemplars=exemplars),
            width=8,
        ),
        graph(
            f"{objective.title} a minute",
            "How many there were" + (f", by {group}." if group else "."),
            "cpm",
            Query(f"{whole} * 60", legend),
            width=8,
        ),
        *(_ahead() if objective.key == "prediction" else []),
    ]


def _ahead() -> list[AnyPanel]:
    """How good the forecasts of whole windows are, the further they look ahead."""
    name = "token_budget_window_forecast_error_ratio"
    whole, mean = (total(rate(shown(f"{name}_{part}")), "calls") for part in ("count", "sum"))
    within = total(rate(shown(f"{name}_bucket", le="0.05")), "calls")
    return [
        graph(
            "Forecasts of the window: mean error",
            "How far the expected utilization of the whole window lay from the actual one, so many model calls later.",
            "percentunit",
            Query(share(mean, whole), "{{calls}} calls ahead"),
            width=12,
        ),
        graph(
            "Forecasts of the window within 5 points",
            "The share of forecasts of the whole window that were at most 5 points off.",
            "percentunit",
            Query(share(within, whole), "{{calls}} calls ahead"),
            width=12,
            top=1,
        ),
    ]
