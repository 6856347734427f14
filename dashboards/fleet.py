"""Fleet: all agents at a glance. Which windows are full, what ran out, what was cleaned up, where to look closer."""

from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from dashboards.house import UIDS, Row, page
from dashboards.panels import ORANGE, RED, YELLOW, AnyPanel, Column, Query, figure, graph, listing, ranking
from dashboards.promql import between, over_range, per_minute, rate, share, shown, soonest, total, worst
from sidecar.budget.policy import STATUSES
from sidecar.budget.presets import STANDARD

_HIGH, _CRITICAL = STANDARD.high_from, STANDARD.critical_from
_WORST_FIRST: Final = tuple(reversed(STATUSES))
_LIMITS: Final = ((_HIGH, ORANGE), (_CRITICAL, RED))
SIX_HOURS: Final = 6 * 3600
REFUSED: Final = "=~partial|denied"
TO_AGENT: Final = (
    f"/d/{UIDS['agent']}?var-agent=${{__data.fields.agent}}&${{__url_time_range}}&${{datasource:queryparam}}"
)

USED = shown("token_budget_window_used_tokens")
TOTAL = shown("token_budget_window_total_tokens")
FULLEST = shown("token_budget_window_utilization_max_ratio")
SESSIONS = shown("token_budget_sessions")
STATUS_SECONDS = "token_budget_window_status_seconds_total"
CRITICAL_SECONDS = shown(STATUS_SECONDS, status="critical")
EXHAUSTIONS = shown("token_budget_exhaustions_total")
REQUESTS = shown("token_budget_allocations_total")
REFUSALS = shown("token_budget_allocations_total", outcome=REFUSED)
ETA = shown("token_budget_exhaustion_eta_seconds")
FREED = shown("token_budget_cleanup_freed_tokens_total")
COMPACTED = shown("token_budget_compaction_freed_tokens_total")


def build() -> model.Dashboard:
    """The dashboard."""
    return page(
        "fleet",
        "Fleet",
        "What fills the context windows of all agents, what ran out, what was cleaned up, and what will happen next.",
        [
            Row("Now, and in the time shown", _figures()),
            Row("How full the windows are", _fullness()),
            Row("What ran out", _shortages()),
            Row("What was cleaned up", _reclaimed()),
            Row("Where to look closer", _offenders()),
        ],
    )


def _figures() -> list[AnyPanel]:
    return [
        figure(
            "Open sessions",
            "Context windows that are open, idle ones included.",
            "short",
            Query(total(SESSIONS)),
            none="0",
        ),
        figure(
            "Fullest window",
            "Utilization of the fullest window of all agents. Critical from 90 %.",
            "percentunit",
            Query(worst(FULLEST)),
            bounds=_LIMITS,
            base="green",
            decimals=0,
        ),
        figure(
            "Soonest exhaustion",
            "Time until the first window is full, at its present growth. Nothing where no window grows.",
            "s",
            Query(soonest(ETA)),
            bounds=[(600, YELLOW), (3600, "green")],
            base=RED,
            none="not in sight",
        ),
        figure(
            "Exhaustions",
            "Requests and new items that did not fit before cleanup, in the time shown.",
            "short",
            Query(over_range(EXHAUSTIONS), exemplars=True),
            bounds=[(1, ORANGE)],
            none="0",
            decimals=0,
        ),
        figure(
            "Requests refused",
            "Share of the requests that were granted in part or not at all, in the time shown.",
            "percentunit",
            Query(share(over_range(REFUSALS), over_range(REQUESTS))),
            bounds=[(0.01, YELLOW), (0.05, RED)],
            none="no requests",
        ),
        figure(
            "Tokens reclaimed",
            "Tokens that cleanups and the hosts' own compactions took out of the windows, in the time shown.",
            "short",
            Query(f"{over_range(FREED)} + ({over_range(COMPACTED)} or vector(0))"),
            none="0",
        ),
    ]


def _fullness() -> list[AnyPanel]:
    seen = "token_budget_window_call_utilization_ratio"
    bands = [
        Query(between(seen, "", "0.75"), "up to 75 %"),
        Query(between(seen, "0.75", "0.9"), "75 to 90 %"),
        Query(between(seen, "0.9", "1.0"), "90 to 100 %"),
        Query(between(seen, "1.0", "+Inf"), "over 100 %"),
    ]
    return [
        graph(
            "Utilization by agent",
            "Used tokens of all windows of an agent by the total of all its windows.",
            "percentunit",
            Query(share(total(USED, "agent"), total(TOTAL, "agent")), "{{agent}}"),
            top=1,
            bounds=[(_CRITICAL, RED)],
        ),
        graph(
            "Fullest window by agent",
            "Utilization of the fullest window of each agent: what an average would hide.",
            "percentunit",
            Query(worst(FULLEST, "agent"), "{{agent}}"),
            top=1,
            bounds=[(_CRITICAL, RED)],
        ),
        graph(
            "Windows by status",
            "How many windows are critical (from 90 %), high (75 %), moderate (50 %) and low, at each scrape.",
            "short",
            *(Query(total(shown("token_budget_window_sessions", status=name)), name) for name in _WORST_FIRST),
            width=8,
            stacked=True,
        ),
        graph(
            "Windows by status, short episodes too",
            "Time that windows spent in each status, per second: how many there were on average. Unlike the gauge "
            "beside it, it also sees what happened between two scrapes.",
            "short",
            *(Query(total(rate(shown(STATUS_SECONDS, status=name))), name) for name in _WORST_FIRST),
            width=8,
            stacked=True,
        ),
        graph(
            "How full the windows were at their calls",
            "Model calls and window syncs by the utilization of their window, as shares of all.",
            "percent",
            *bands,
            width=8,
            stacked=True,
            percent=True,
        ),
    ]


def _shortages() -> list[AnyPanel]:
    return [
        graph(
            "Exhaustions by agent",
            "Requests and new items a minute that did not fit their component's budget before cleanup.",
            "cpm",
            Query(per_minute(EXHAUSTIONS, "agent"), "{{agent}}", exemplars=True),
        ),
        graph(
            "Requests by outcome",
            "Decided requests a minute: in full, after a cleanup, with borrowed tokens, in part, or not at all.",
            "cpm",
            Query(per_minute(REQUESTS, "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Soonest exhaustion by agent",
            "Time until the first window of an agent is full, at its present growth. No line where that is more than "
            "six hours away, or none grows.",
            "s",
            Query(f"{soonest(ETA, 'agent')} < {SIX_HOURS}", "{{agent}}"),
        ),
        graph(
            "Compactions by agent",
            "Times a minute that hosts of observed sessions compacted their windows: as they said (reported), or as a "
            "fall of the level showed (inferred).",
            "cpm",
            Query(per_minute(shown("token_budget_compactions_total"), "agent", "source"), "{{agent}}, {{source}}"),
        ),
    ]


def _reclaimed() -> list[AnyPanel]:
    reclaimable = shown("token_budget_component_reclaimable_tokens")
    return [
        graph(
            "Tokens freed by step",
            "Tokens a minute that cleanups freed, by the step that freed them.",
            "short",
            Query(f"{per_minute(FREED, 'step')} > 0", "{{step}}"),
            stacked=True,
        ),
        graph(
            "Tokens that a cleanup would free",
            "What could be reclaimed at this moment, by component. Absent where the items of the windows are unknown.",
            "short",
            Query(total(reclaimable, "component"), "{{component}}"),
            stacked=True,
        ),
    ]


def _offenders() -> list[AnyPanel]:
    return [
        listing(
            "Agents, the fullest first",
            "Every agent in the time shown, those included whose pods are gone. A name leads to the agent's dashboard.",
            "agent",
            [
                Column("Fullest window", "percentunit", worst(f"max_over_time({FULLEST}[$__range])", "agent"), _LIMITS),
                Column("Sessions now", "short", total(SESSIONS, "agent")),
                Column("Exhaustions", "short", over_range(EXHAUSTIONS, "agent")),
                Column("Refused", "short", over_range(REFUSALS, "agent")),
                Column("Tokens freed", "short", over_range(FREED, "agent")),
                Column("Compactions", "short", over_range(shown("token_budget_compactions_total"), "agent")),
                Column("Directives pending", "short", total(shown("token_budget_directives_pending"), "agent")),
                Column("Soonest exhaustion", "s", soonest(ETA, "agent")),
            ],
            worst_first="Fullest window",
            link=TO_AGENT,
        ),
        ranking(
            "Most exhausted components",
            "The ten components of agents that ran out most often, in the time shown.",
            "short",
            Query(f"topk(10, {over_range(EXHAUSTIONS, 'agent', 'component')} > 0)", "{{agent}}: {{component}}"),
        ),
        ranking(
            "Most time in critical windows",
            "The ten agents whose windows were critical the longest, summed over their windows, in the time shown.",
            "s",
            Query(f"topk(10, {over_range(CRITICAL_SECONDS, 'agent')} > 0)", "{{agent}}"),
        ),
    ]
