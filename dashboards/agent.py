"""Agent: the windows of one agent. What they hold by component, how the shares move, and what cleanup does about it."""

from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from dashboards.fleet import SIX_HOURS
from dashboards.house import Row, chooser, page
from dashboards.panels import GREEN, ORANGE, RED, YELLOW, AnyPanel, Query, figure, graph
from dashboards.promql import between, over_range, per_minute, quantile, share, shown, soonest, total, worst
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import STANDARD

AGENT: Final = "$agent"
COMPONENT: Final = "{{component}}"
_HIGH, _CRITICAL = STANDARD.high_from, STANDARD.critical_from
_BANDS: Final = {"never": ("", "0.0"), "once or twice": ("0.0", "2.0"), "three times or more": ("2.0", "+Inf")}


def of_agent(metric: str, **labels: str) -> str:
    """A selector of the agent that the reader chose."""
    return shown(metric, agent=AGENT, **labels)


USED = of_agent("token_budget_component_used_tokens")
ALLOCATED = of_agent("token_budget_component_allocated_tokens")
WINDOW_USED = of_agent("token_budget_window_used_tokens")
WINDOW_TOTAL = of_agent("token_budget_window_total_tokens")
EXHAUSTIONS = of_agent("token_budget_exhaustions_total")
FREED = of_agent("token_budget_cleanup_freed_tokens_total")


def build() -> model.Dashboard:
    """The dashboard."""
    return page(
        "agent",
        "Agent",
        "What the context windows of one agent hold, how near they are to their limits, and what cleanup does "
        "about it.",
        [
            Row("Now, and in the time shown", _figures()),
            Row(
                "What the windows hold",
                [*_window(), *(_component(name, place) for place, name in enumerate(COMPONENTS))],
            ),
            Row("What did not fit", _shortages()),
            Row("Cleanup", _cleanup()),
            Row("Shares, and several windows", _shares()),
            Row("In detail (metrics_detail)", _detail(), folded=True),
        ],
        chooser("agent", "Agent", shown("token_budget_sessions"), several=False),
    )


def _figures() -> list[AnyPanel]:
    return [
        figure(
            "Windows in use",
            "Windows of this agent that are not idle.",
            "short",
            Query(total(of_agent("token_budget_window_sessions"))),
            none="0",
        ),
        figure(
            "Utilization",
            "Used tokens of all its windows by their total.",
            "percentunit",
            Query(share(total(WINDOW_USED), total(WINDOW_TOTAL))),
            bounds=[(_HIGH, ORANGE), (_CRITICAL, RED)],
            base=GREEN,
            none="no window",
            decimals=0,
        ),
        figure(
            "Fullest window",
            "Utilization of its fullest window. Critical from 90 %.",
            "percentunit",
            Query(worst(of_agent("token_budget_window_utilization_max_ratio"))),
            bounds=[(_HIGH, ORANGE), (_CRITICAL, RED)],
            base=GREEN,
            none="no window",
            decimals=0,
        ),
        figure(
            "Soonest exhaustion",
            "Time until its first window is full, at its present growth. Nothing where no window grows.",
            "s",
            Query(soonest(of_agent("token_budget_exhaustion_eta_seconds"))),
            bounds=[(600, YELLOW), (3600, GREEN)],
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
            "Reclaimable",
            "Tokens that a cleanup of all components would free at this moment.",
            "short",
            Query(total(of_agent("token_budget_component_reclaimable_tokens"))),
            none="unknown",
        ),
    ]


def _window() -> list[AnyPanel]:
    return [
        graph(
            "The windows by component",
            "Tokens that the windows hold, by component, and what no component could be given. The dashed line is what "
            "they have room for.",
            "short",
            *(
                Query(total(of_agent("token_budget_component_used_tokens", component=name)), name)
                for name in COMPONENTS
            ),
            Query(f"{total(of_agent('token_budget_window_unattributed_tokens'))} > 0", "unattributed"),
            Query(total(WINDOW_TOTAL), "room"),
            width=14,
            height=11,
            stacked=True,
            dashed=["room"],
        ),
        graph(
            "Utilization by component",
            "Used by allocated tokens of each component, summed over the windows. Red from 90 %; over 100 % is what "
            "was recorded as a fact although it did not fit.",
            "percentunit",
            Query(share(total(USED, "component"), total(ALLOCATED, "component")), COMPONENT),
            width=10,
            height=11,
            top=1,
            bounds=[(_CRITICAL, RED)],
        ),
    ]


def _component(name: str, place: int) -> AnyPanel:
    """One component's tokens against its budget; five of them side by side."""
    policy = STANDARD.components[name]  # type: ignore[index] # a name from COMPONENTS
    aim = f"{policy.target.low:.0%} to {policy.target.high:.0%}"
    return graph(
        name,
        f"Tokens that {name} holds, and its budget (dashed). It should run at {aim}"
        + ("; nothing is ever cleaned up in it." if policy.fixed else "."),
        "short",
        Query(total(of_agent("token_budget_component_used_tokens", component=name)), "used"),
        Query(total(of_agent("token_budget_component_allocated_tokens", component=name)), "allocated"),
        width=(5, 5, 5, 5, 4)[place],
        height=6,
        dashed=["allocated"],
        table_legend=False,
    )


def _shortages() -> list[AnyPanel]:
    return [
        graph(
            "Exhaustions by component",
            "Requests and new items a minute that did not fit their component's budget before cleanup.",
            "cpm",
            Query(per_minute(EXHAUSTIONS, "component"), COMPONENT, exemplars=True),
            width=8,
            stacked=True,
        ),
        graph(
            "Requests by outcome",
            "Decided requests a minute: in full, after a cleanup, with borrowed tokens, in part, or not at all.",
            "cpm",
            Query(per_minute(of_agent("token_budget_allocations_total"), "outcome"), "{{outcome}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Time to exhaustion",
            "Time until the first window is full, at its present growth. No line where that is more than six hours "
            "away, or none grows.",
            "s",
            Query(f"{soonest(of_agent('token_budget_exhaustion_eta_seconds'))} < {SIX_HOURS}", "soonest window"),
            width=8,
        ),
    ]


def _cleanup() -> list[AnyPanel]:
    cleanups = of_agent("token_budget_cleanups_total")
    duration = "token_budget_cleanup_duration_seconds"
    decision = "token_budget_allocation_duration_seconds"
    return [
        graph(
            "Tokens freed by step",
            "Tokens a minute that cleanups freed on the ledger, by the step that freed them.",
            "short",
            Query(f"{per_minute(FREED, 'step')} > 0", "{{step}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Cleanups by trigger",
            "Cleanups a minute: for a request or an item that did not fit (allocation), on crossing a target, ahead of "
            "a predicted need, or asked for (manual).",
            "cpm",
            Query(per_minute(cleanups, "trigger"), "{{trigger}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Cleanups that freed something, and in vain",
            "Cleanups a minute by their result: `noop` found nothing to free.",
            "cpm",
            Query(per_minute(cleanups, "result"), "{{result}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Tokens that a cleanup would free",
            "What could be reclaimed at this moment, by component. Absent where the items of the windows are unknown.",
            "short",
            Query(total(of_agent("token_budget_component_reclaimable_tokens"), "component"), COMPONENT),
            width=8,
            stacked=True,
        ),
        graph(
            "Tokens pending",
            "Tokens that directives freed on the ledger, and that the agent has not confirmed yet.",
            "short",
            Query(total(of_agent("token_budget_window_pending_tokens")), "pending"),
            width=8,
        ),
        graph(
            "Directives pending and failed",
            "Directives that the agent has not confirmed yet, and those a minute that it could not apply.",
            "short",
            Query(total(of_agent("token_budget_directives_pending")), "pending"),
            Query(per_minute(of_agent("token_budget_directives_failed_total")), "failed a minute"),
            width=8,
        ),
        graph(
            "Age of the oldest directive",
            "Session time since the oldest directive was made that is still pending; 0 if none is.",
            "s",
            Query(worst(of_agent("token_budget_directives_oldest_age_seconds")), "oldest"),
            width=8,
        ),
        graph(
            "Duration of decisions",
            "How long requests took to decide in the pods chosen, of all their agents. Quantiles are as exact as the "
            "histogram's buckets, which are the promises: 1 ms and 10 ms.",
            "s",
            Query(quantile(0.5, decision), "median", exemplars=True),
            Query(quantile(0.99, decision), "99th percentile", exemplars=True),
            width=8,
        ),
        graph(
            "Duration of cleanups",
            "How long cleanups took in the pods chosen, of all their agents. Quantiles are as exact as the histogram's "
            "buckets, which are aim and promise: 50 ms and 500 ms.",
            "s",
            Query(quantile(0.5, duration), "median", exemplars=True),
            Query(quantile(0.99, duration), "99th percentile", exemplars=True),
            width=8,
        ),
    ]


def _shares() -> list[AnyPanel]:
    by_pod = shown("token_budget_window_utilization_ratio", agent=AGENT)
    return [
        graph(
            "Shares over time",
            "What each component is allocated, as a share of the whole window: adjustments move it.",
            "percentunit",
            Query(f"{total(ALLOCATED, 'component')} / on () group_left () ({total(WINDOW_TOTAL)} > 0)", COMPONENT),
            width=8,
            stacked=True,
        ),
        graph(
            "Sessions by state",
            "Open sessions of this agent: active, idle, or drifted (directives sent ten times and not confirmed).",
            "short",
            Query(total(of_agent("token_budget_sessions"), "mode", "state"), "{{mode}}, {{state}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Fullest pods",
            "The ten pods whose windows of this agent are the fullest, each over all its windows.",
            "percentunit",
            Query(f"topk(10, {worst(by_pod, 'instance')})", "{{instance}}"),
            width=8,
            top=1,
            bounds=[(_CRITICAL, RED)],
        ),
        graph(
            "Compactions",
            "Tokens a minute that the hosts' own compactions took out of observed windows: as they said (reported), or "
            "as a fall of the level showed (inferred).",
            "short",
            Query(per_minute(of_agent("token_budget_compaction_freed_tokens_total"), "source"), "{{source}}"),
        ),
        graph(
            "Exhaustions of a session",
            "Sessions closed a minute, by how often something did not fit over their whole life. The promise is: fewer "
            "than three times.",
            "cpm",
            *(
                Query(f"({between('token_budget_session_exhaustions', *band, agent=AGENT)}) * 60", name)
                for name, band in _BANDS.items()
            ),
            stacked=True,
        ),
    ]


def _detail() -> list[AnyPanel]:
    confirmed = of_agent("token_budget_cleanup_confirmed_tokens_total")
    return [
        graph(
            "Borrowed tokens",
            "Tokens that components borrow from the others; only elastic presets lend.",
            "short",
            Query(total(of_agent("token_budget_component_borrowed_tokens"), "component"), COMPONENT),
            width=8,
            stacked=True,
        ),
        graph(
            "Tokens requested and granted",
            "Tokens a minute that were asked for, and that were granted.",
            "short",
            Query(per_minute(of_agent("token_budget_requested_tokens_total")), "requested"),
            Query(per_minute(of_agent("token_budget_granted_tokens_total")), "granted"),
            width=8,
        ),
        graph(
            "Tokens freed, and confirmed",
            "Tokens a minute that cleanups freed on the ledger, and of these what the agent confirmed.",
            "short",
            Query(per_minute(FREED), "freed"),
            Query(per_minute(confirmed), "confirmed"),
            width=8,
        ),
        graph(
            "Needed again",
            "Tokens a minute of items that had been archived and came back: cleaned up too early.",
            "short",
            Query(per_minute(of_agent("token_budget_readmitted_tokens_total"), "component"), COMPONENT),
            width=8,
            stacked=True,
        ),
        graph(
            "Share adjustments",
            "Changes of shares a minute, by component and direction.",
            "cpm",
            Query(
                per_minute(of_agent("token_budget_share_adjustments_total"), "component", "direction"),
                "{{component}} {{direction}}",
            ),
            width=8,
        ),
        graph(
            "Episodes",
            "Times a minute that a window came into a status.",
            "cpm",
            Query(per_minute(of_agent("token_budget_window_status_entered_total"), "status"), "{{status}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Fullest window by component",
            "Utilization of each component in the window where it is fullest.",
            "percentunit",
            Query(worst(of_agent("token_budget_component_utilization_max_ratio"), "component"), COMPONENT),
            top=1,
            bounds=[(_CRITICAL, RED)],
        ),
        graph(
            "Windows in which a component is critical",
            "Windows in which the component is at 90 % of its budget or above.",
            "short",
            Query(total(of_agent("token_budget_component_sessions", status="critical"), "component"), COMPONENT),
        ),
    ]
