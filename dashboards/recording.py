"""Recording rules: the ratios that alerts look at over several windows of time.

They are summed over pods before they are divided, so that many small pods and pods that lived for minutes count with
what they did. `namespace` is kept where scrapes have it, so that an alert finds who it belongs to.
"""

from dataclasses import dataclass
from typing import Final

from dashboards.promql import series, total
from dashboards.service_levels import OBJECTIVES, WINDOWS, Objective

OWNER: Final = ("job", "namespace")
AGENT: Final = (*OWNER, "agent")
REFUSED: Final = "=~partial|denied"


@dataclass(frozen=True, slots=True)
class Recording:
    """A series under a new name: level, metric and operation, as Prometheus' practice has it."""

    record: str
    expression: str


def error_ratio(objective: Objective, window: str) -> str:
    """The name of the share of an objective's events that were bad, over a window."""
    return f"job_namespace:token_budget_{objective.key}_errors:ratio_rate{window}"


def exhaustions_per_hour(window: str) -> str:
    """The name of exhaustions by an hour of an open window, over a window of time."""
    return f"job_namespace_agent:token_budget_exhaustions_per_window_hour:rate{window}"


def refusal_ratio(window: str) -> str:
    """The name of the share of requests that were not granted whole, over a window of time."""
    return f"job_namespace_agent:token_budget_refusals:ratio_rate{window}"


def events(objective: Objective, part: str, **labels: str) -> str:
    """A selector of an objective's histogram."""
    return series(f"{objective.histogram}_{part}", **labels, **dict(objective.labels))


def shortages() -> list[Recording]:
    """How often something was short, by agent."""
    rules = []
    for window in ("5m", "1h"):
        exhausted = total(f"rate({series('token_budget_exhaustions_total')}[{window}])", *AGENT)
        open_windows = total(f"rate({series('token_budget_window_status_seconds_total')}[{window}])", *AGENT)
        rules.append(Recording(exhaustions_per_hour(window), f"3600 * {exhausted} / ({open_windows} > 0)"))
    for window in ("5m", "1h"):
        refused = total(f"rate({series('token_budget_allocations_total', outcome=REFUSED)}[{window}])", *AGENT)
        requests = total(f"rate({series('token_budget_allocations_total')}[{window}])", *AGENT)
        rules.append(Recording(refusal_ratio(window), f"{refused} / ({requests} > 0)"))
    return rules


def error_ratios() -> list[Recording]:
    """How much of what each objective counts was bad, over every window that an alert looks at."""
    rules = []
    for objective in OBJECTIVES:
        for window in WINDOWS:
            if not any(window in (burn.long, burn.short) for burn in objective.burns):
                continue
            good = total(f"rate({events(objective, 'bucket', le=str(float(objective.bound)))}[{window}])", *OWNER)
            every = total(f"rate({events(objective, 'count')}[{window}])", *OWNER)
            rules.append(Recording(error_ratio(objective, window), f"1 - {good} / ({every} > 0)"))
    return rules


def topics() -> dict[str, list[Recording]]:
    """All rules by their topic. What an alert reads is recorded in its own group, so that both are of the same time."""
    return {"windows": shortages(), "objectives": error_ratios()}
