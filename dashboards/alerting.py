"""Alerts: what somebody should know, how urgent it is, and where to read on.

`critical` wakes somebody, `warning` waits for the morning, `info` is for whoever looks. Each alert has a section in
runbooks.md and its tests in prometheus/tests. Short episodes count by the time that they took, not by the scrapes that
happened to see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dashboards.promql import series, soonest, total, worst
from dashboards.recording import AGENT, OWNER, REFUSED, error_ratio, events, exhaustions_per_hour, refusal_ratio
from dashboards.service_levels import OBJECTIVES, Burn, Objective, Severity
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import STANDARD

CONTAINER: Final = "token-budget-sidecar"  # as the chart and the injector call it
# A component that is never cleaned up may well be full: only the others are worth a word.
ADJUSTABLE: Final = "=~" + "|".join(name for name in COMPONENTS if not STANDARD.components[name].fixed)
PERCENT: Final = f"{STANDARD.critical_from:.0%}"
# {{ ... }} of Prometheus' own templates
AGENT_NAME, COMPONENT_NAME, VALUE = "{{ $labels.agent }}", "{{ $labels.component }}", "{{ $value | humanize }}"
SHARE, DURATION = "{{ $value | humanizePercentage }}", "{{ $value | humanizeDuration }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. `dashboard` is where its reader sees more; `waits` how long it must hold before it is sent."""

    name: str
    severity: Severity
    expression: str
    summary: str
    description: str
    dashboard: str
    waits: str = ""
    labels: tuple[tuple[str, str], ...] = ()


def topics() -> dict[str, Sequence[Alert]]:
    """All alerts by their topic, which is a file and a group of rules."""
    return {
        "windows": _windows(),
        "cleanup": _cleanup(),
        "sidecars": _sidecars(),
        "objectives": [burning(objective, burn) for objective in OBJECTIVES for burn in objective.burns],
    }


def increase(selector: str, window: str, *by: str) -> str:
    """Growth of a counter over a window of time, over pods."""
    return total(f"increase({selector}[{window}])", *by)


def _windows() -> list[Alert]:
    critical_seconds = series("token_budget_window_status_seconds_total", status="critical")
    component = series("token_budget_component_utilization_max_ratio", component=ADJUSTABLE)
    component_sums = series("token_budget_component_utilization_ratio", component=ADJUSTABLE)
    by_component = worst(f"{component} or {component_sums}", *AGENT, "component")
    fullest = worst(series("token_budget_window_utilization_max_ratio"), *AGENT)
    eta = soonest(series("token_budget_exhaustion_eta_seconds"), *AGENT)
    exhausted = increase(series("token_budget_exhaustions_total"), "1h", *AGENT)
    refused = increase(series("token_budget_allocations_total", outcome=REFUSED), "1h", *AGENT)
    return [
        Alert(
            name="TokenBudgetWindowCritical",
            severity="critical",
            expression=f"{worst(f'increase({critical_seconds}[5m])', *AGENT)} > 60",
            summary=f"A context window of {AGENT_NAME} is about to overflow",
            description=f"In one pod, windows of {AGENT_NAME} spent {DURATION}, added up, of the last 5 minutes at "
            f"{PERCENT} of their tokens or above. What comes next may be refused, cut off by the model, or "
            "compacted by the host.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetComponentCritical",
            severity="warning",
            expression=f"count_over_time(({by_component} >= {STANDARD.critical_from:g})[10m:30s]) * 30 > 120",
            summary=f"{COMPONENT_NAME} of {AGENT_NAME} is nearly full",
            description=f"{COMPONENT_NAME} of {AGENT_NAME} spent {DURATION} of the last 10 minutes at {PERCENT} of its "
            "budget or above. The next requests for it need a cleanup first, or are refused.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetSoonExhausted",
            severity="warning",
            expression=f"{eta} < 600 and {fullest} > {STANDARD.moderate_from:g}",
            waits="1m",
            summary=f"A context window of {AGENT_NAME} will soon be full",
            description=f"At its present growth the first window of {AGENT_NAME} is full in {DURATION}.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetExhaustions",
            severity="warning",
            expression=f"{exhaustions_per_hour('1h')} > 6 and {exhaustions_per_hour('5m')} > 6 and {exhausted} >= 3",
            summary=f"Budgets of {AGENT_NAME} run out again and again",
            description=f"In the last hour something did not fit {VALUE} times for each hour that a window of "
            f"{AGENT_NAME} was open, and it still goes on. Each time a cleanup had to come first.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetRefusals",
            severity="warning",
            expression=f"{refusal_ratio('1h')} > 0.05 and {refusal_ratio('5m')} > 0.05 and {refused} >= 5",
            summary=f"Requests of {AGENT_NAME} are refused",
            description=f"{SHARE} of the requests of {AGENT_NAME} were granted in part or not at all in the last hour, "
            "and it still goes on.",
            dashboard="agent",
        ),
    ]


def _cleanup() -> list[Alert]:
    by_component = (*AGENT, "component")
    cleanups = increase(series("token_budget_cleanups_total"), "1h", *by_component)
    in_vain = increase(series("token_budget_cleanups_total", result="noop"), "1h", *by_component)
    age = worst(series("token_budget_directives_oldest_age_seconds"), *AGENT)
    drifted = total(series("token_budget_sessions", state="drifted"), *AGENT)
    failed = increase(series("token_budget_directives_failed_total"), "15m", *AGENT)
    return [
        Alert(
            name="TokenBudgetCleanupsInVain",
            severity="warning",
            expression=f"{in_vain} / ({cleanups} > 0) > 0.5 and {in_vain} >= 10",
            summary=f"Cleanups of {COMPONENT_NAME} of {AGENT_NAME} find nothing to free",
            description=f"{SHARE} of the cleanups of {COMPONENT_NAME} of {AGENT_NAME} freed nothing in the last hour: "
            "its budget is too small for what it must hold, or its rules do not fit what it holds.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetDirectivesPending",
            severity="warning",
            expression=f"{age} > 900",
            waits="5m",
            summary=f"{AGENT_NAME} does not apply its directives",
            description=f"The oldest directive that {AGENT_NAME} has not confirmed is {DURATION} old. The ledger "
            "counts its tokens as freed; the window may still hold them.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetSessionsDrifted",
            severity="warning",
            expression=f"{drifted} > 0",
            waits="10m",
            summary=f"Sessions of {AGENT_NAME} have drifted from the ledger",
            description=f"{VALUE} sessions of {AGENT_NAME} were sent the same directives in ten answers and confirmed "
            "none. What is shown of their windows is no longer what they hold.",
            dashboard="agent",
        ),
        Alert(
            name="TokenBudgetDirectivesFailing",
            severity="warning",
            expression=f"{failed} > 2",
            summary=f"{AGENT_NAME} cannot apply directives",
            description=f"{AGENT_NAME} reported {VALUE} directives as failed in the last 15 minutes. Their items are "
            "back on the ledger, so nothing was freed.",
            dashboard="agent",
        ),
    ]


def _sidecars() -> list[Alert]:
    by_receiver, by_signal = (*OWNER, "receiver"), (*OWNER, "signal")
    rejected = series("token_budget_events_rejected_total")
    lost = increase(rejected, "15m", *by_receiver)
    accepted = increase(series("token_budget_events_total"), "15m", *by_receiver)
    failed = increase(series("token_budget_forwarded_total", result="failed"), "15m", *by_signal)
    forwarded = increase(series("token_budget_forwarded_total"), "15m", *by_signal)
    dropped = increase(series("token_budget_dropped_total"), "15m", *OWNER, "what", "reason")
    running = series("token_budget_build_info")
    container = (
        f"{series('kube_pod_container_info', container=CONTAINER)} or "
        f"{series('kube_pod_init_container_info', container=CONTAINER)}"
    )
    phase = series("kube_pod_status_phase", phase="Running")
    return [
        Alert(
            name="TokenBudgetJournalDown",
            severity="critical",
            expression=f"count by (job, namespace) ({series('token_budget_journal_up')} == 0)",
            waits="1m",
            summary="Sidecars cannot write their journal",
            description=f"{VALUE} sidecars of {{{{ $labels.job }}}} answer every write with 503, because what they "
            "would accept could not be kept. Their agents run without a budget.",
            dashboard="sidecar",
        ),
        Alert(
            name="TokenBudgetEventsRejected",
            severity="warning",
            expression=f"{lost} / ({lost} + ({accepted} or {lost} * 0)) > 0.05 and {lost} >= 10",
            summary="Events are rejected",
            description=f"{SHARE} of what came in through {{{{ $labels.receiver }}}} in the last 15 minutes was "
            "answered with an error. What was told in it is missing from the budget.",
            dashboard="sidecar",
        ),
        Alert(
            name="TokenBudgetForwardingFailing",
            severity="warning",
            expression=f"{failed} / ({forwarded} > 0) > 0.05 and {failed} >= 5",
            summary="The agents' own telemetry is not passed on",
            description=f"{SHARE} of the {{{{ $labels.signal }}}} that should have been forwarded in the last 15 "
            "minutes could not be, and is lost to where it went before.",
            dashboard="sidecar",
        ),
        Alert(
            name="TokenBudgetDropping",
            severity="info",
            expression=f"{dropped} > 0",
            summary="Sidecars drop what they cannot keep",
            description=f"{VALUE} times {{{{ $labels.what }}}} was dropped in the last 15 minutes, because of "
            "{{ $labels.reason }}.",
            dashboard="sidecar",
        ),
        Alert(
            name="TokenBudgetSidecarDown",
            severity="warning",
            expression=f"{series('up')} == 0 and on (job, instance) last_over_time({running}[1h])",
            waits="2m",
            summary="A sidecar does not answer",
            description="{{ $labels.instance }} was a sidecar within the last hour and does not answer scrapes any "
            "more, although its pod is still there. Its agent may run without a budget.",
            dashboard="sidecar",
        ),
        Alert(
            name="TokenBudgetSidecarAbsent",
            severity="warning",
            # Where scrapes have no `pod`, nobody can tell whose sidecar is absent.
            expression=f"({worst(container, 'namespace', 'pod')} and on (namespace, pod) {phase} == 1)"
            f" unless on (namespace, pod) {running}"
            f" and on () (count({series('token_budget_build_info', pod='!=')}) or absent({running}))",
            waits="5m",
            summary="A running agent's sidecar is absent",
            description="{{ $labels.namespace }}/{{ $labels.pod }} runs with a sidecar that no scrape has seen. "
            "Its agent may run without a budget.",
            dashboard="sidecar",
        ),
    ]


def burning(objective: Objective, burn: Burn) -> Alert:
    """The alert on one pair of windows of an objective."""
    limit = f"{burn.factor:g} * {objective.budget:g}"
    often = "more often than" if burn.factor == 1 else f"{burn.factor:g} times as often as"
    enough = increase(events(objective, "count"), burn.long, *OWNER)
    return Alert(
        name=objective.alert,
        severity=burn.severity,
        expression=f"{error_ratio(objective, burn.long)} > {limit} and {error_ratio(objective, burn.short)} > {limit}"
        f" and {enough} >= {objective.least}",
        labels=(("window", burn.long),),
        summary=f"{objective.title} break their promise {often} they may",
        description=f"{objective.promise}: {SHARE} of the last {burn.long} did not keep to it, {objective.budget:.0%} "
        f"may. It still goes on in the last {burn.short}.",
        dashboard="objectives",
    )
