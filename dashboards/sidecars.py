"""Sidecar: the sidecars themselves. What comes in and goes out, the journal, the loop, and what was dropped."""

from grafana_foundation_sdk.models import dashboard as model

from dashboards.house import Row, page
from dashboards.panels import GREEN, ORANGE, RED, YELLOW, AnyPanel, Query, figure, graph
from dashboards.promql import over_range, per_minute, quantile, rate, share, shown, soonest, total, worst

EVENTS = shown("token_budget_events_total")
REJECTED = shown("token_budget_events_rejected_total")
FORWARDED = shown("token_budget_forwarded_total")
DROPPED = shown("token_budget_dropped_total")
ENTRIES = shown("token_budget_journal_entries_total")
JOURNAL_UP = shown("token_budget_journal_up")
APPEND = "token_budget_journal_append_duration_seconds"
LAG = "token_budget_event_loop_lag_seconds"


def build() -> model.Dashboard:
    """The dashboard."""
    return page(
        "sidecar",
        "Sidecar",
        "How the sidecars themselves are: events in, telemetry out, the journal, the event loop, memory, and losses.",
        [
            Row("Now, and in the time shown", _figures()),
            Row("In and out", _traffic()),
            Row("The journal", _journal()),
            Row("The process", _process()),
        ],
    )


def _figures() -> list[AnyPanel]:
    return [
        figure(
            "Sidecars",
            "Sidecars that answered the last scrape.",
            "short",
            Query(f"count({shown('token_budget_build_info')})"),
            none="0",
        ),
        figure(
            "Journals",
            "Share of the sidecars whose journal can be written. One that cannot refuses every write.",
            "percentunit",
            Query(f"avg({JOURNAL_UP})"),
            bounds=[(1, GREEN)],
            base=RED,
            decimals=0,
        ),
        figure(
            "Commands",
            "Commands carried out, in the time shown.",
            "short",
            Query(over_range(EVENTS)),
            none="0",
            decimals=0,
        ),
        figure(
            "Rejected",
            "Requests and events that were answered with an error, in the time shown.",
            "short",
            Query(over_range(REJECTED)),
            bounds=[(1, YELLOW)],
            none="0",
            decimals=0,
        ),
        figure(
            "Not forwarded",
            "Payloads of the agents' own telemetry that could not be passed on, in the time shown.",
            "short",
            Query(over_range(shown("token_budget_forwarded_total", result="failed"))),
            bounds=[(1, ORANGE)],
            none="nothing to forward",
            decimals=0,
        ),
        figure(
            "Dropped",
            "What was given up because a bound was reached or a peer was away, in the time shown.",
            "short",
            Query(over_range(DROPPED)),
            bounds=[(1, ORANGE)],
            none="0",
            decimals=0,
        ),
    ]


def _traffic() -> list[AnyPanel]:
    return [
        graph(
            "Commands by receiver",
            "Commands carried out a minute, by where they came in.",
            "cpm",
            Query(per_minute(EVENTS, "receiver"), "{{receiver}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Commands by type",
            "Commands carried out a minute, by what they ask or tell.",
            "cpm",
            Query(f"{per_minute(EVENTS, 'type')} > 0", "{{type}}"),
            width=8,
            stacked=True,
        ),
        graph(
            "Rejected by reason",
            "Requests and events a minute that were answered with an error, by receiver and reason.",
            "cpm",
            Query(per_minute(REJECTED, "receiver", "reason"), "{{receiver}}: {{reason}}"),
            width=8,
        ),
        graph(
            "Forwarded",
            "Payloads of the agents' own telemetry a minute that were passed on downstream, or could not be.",
            "cpm",
            Query(per_minute(FORWARDED, "signal", "result"), "{{signal}}: {{result}}"),
        ),
        graph(
            "Dropped",
            "What was given up a minute because a bound was reached or a peer was away: labels, spans, "
            "payloads, events.",
            "cpm",
            Query(per_minute(DROPPED, "what", "reason"), "{{what}}: {{reason}}"),
        ),
    ]


def _journal() -> list[AnyPanel]:
    return [
        graph(
            "Journals that work",
            "Whether the journal of the worst sidecar can be written: 1 or 0, and the share of all that can.",
            "none",
            Query(soonest(JOURNAL_UP), "worst"),
            Query(f"avg({JOURNAL_UP})", "share"),
            width=6,
            top=1,
        ),
        graph(
            "Entries made durable",
            "Entries a minute.",
            "cpm",
            Query(per_minute(ENTRIES), "entries"),
            width=6,
        ),
        graph(
            "Entries of an append",
            "How many entries an append held on average: under load many share one.",
            "short",
            Query(share(total(rate(ENTRIES)), total(rate(shown(f"{APPEND}_count")))), "entries"),
            width=6,
        ),
        graph(
            "Duration of appends",
            "How long it took to make a turn's entries durable. Quantiles are as exact as the histogram's buckets: 10 "
            "ms and 100 ms.",
            "s",
            Query(quantile(0.5, APPEND), "median"),
            Query(quantile(0.99, APPEND), "99th percentile"),
            width=6,
        ),
    ]


def _process() -> list[AnyPanel]:
    return [
        graph(
            "Event loop lag",
            "How much later than planned the event loop woke. Quantiles are as exact as the histogram's buckets: 10 ms "
            "and 100 ms.",
            "s",
            Query(quantile(0.5, LAG), "median"),
            Query(quantile(0.99, LAG), "99th percentile"),
            width=8,
        ),
        graph(
            "Memory",
            "Resident memory of the largest sidecar, and of the mean one.",
            "bytes",
            Query(worst(shown("process_resident_memory_bytes")), "largest"),
            Query(f"avg({shown('process_resident_memory_bytes')})", "mean"),
            width=8,
        ),
        graph(
            "Processor",
            "Processor time a second of the busiest sidecar, and of the mean one: 1 is a whole core.",
            "none",
            Query(worst(rate(shown("process_cpu_seconds_total"))), "busiest"),
            Query(f"avg({rate(shown('process_cpu_seconds_total'))})", "mean"),
            width=8,
        ),
        graph(
            "Age of the sidecars",
            "Time since the youngest and the oldest sidecar started: pods that live for minutes pull it down.",
            "s",
            Query(f"time() - {worst(shown('process_start_time_seconds'))}", "youngest"),
            Query(f"time() - {soonest(shown('process_start_time_seconds'))}", "oldest"),
            width=8,
        ),
        graph(
            "Open files",
            "Open file descriptors of the sidecar that has most.",
            "short",
            Query(worst(shown("process_open_fds")), "most"),
            width=8,
        ),
        graph(
            "Versions",
            "Sidecars by their version.",
            "short",
            Query(f"count by (version) ({shown('token_budget_build_info')})", "{{version}}"),
            width=8,
            stacked=True,
        ),
    ]
