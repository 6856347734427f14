"""Expressions of PromQL, put together from named parts.

Every metric is looked up in the catalogue, so that one that does not exist, a label that it does not have, or a value
that its label never takes stops the build instead of drawing an empty panel.

Sums are the common form: a dashboard looks at many pods, each with several sessions, and none is special. A ratio is
made of two sums and never averaged; "the worst" is a maximum.
"""

import re
from typing import Final

from sidecar.exporters.catalog import BY_NAME
from sidecar.exporters.metric import OPEN

# What Prometheus and the client library add, and what other exporters know of a pod.
TARGET_LABELS: Final = ("job", "instance", "namespace", "pod")
FOREIGN: Final = {
    "up": (),
    "process_cpu_seconds_total": (),
    "process_open_fds": (),
    "process_resident_memory_bytes": (),
    "process_start_time_seconds": (),
    "kube_pod_container_info": ("container",),
    "kube_pod_init_container_info": ("container",),
    "kube_pod_status_phase": ("phase",),
}
_OPERATOR: Final = re.compile(r"(=~|!~|!=)?(.*)", re.DOTALL)


def series(metric: str, **labels: str) -> str:
    """A selector. A label's value may begin with its operator: `component="!=system_context"`, `outcome="=~a|b"`.

    Raises:
        ValueError: the catalogue has no such metric, label or value.
    """
    allowed = _labels(metric)
    matchers = []
    for label, text in labels.items():
        operator, value = _OPERATOR.fullmatch(text).groups()  # type: ignore[union-attr] # it matches any text
        if label not in allowed:
            raise ValueError(f"{metric} has no label {label}: {', '.join(allowed)}")
        for each in value.split("|") if allowed[label] and not value.startswith("$") else ():
            if each not in allowed[label]:
                raise ValueError(f"{label} of {metric} is never {each}: {', '.join(allowed[label])}")
        matchers.append(f'{label}{operator or "="}"{value}"')
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def _labels(metric: str) -> dict[str, tuple[str, ...]]:
    """The labels that a metric has, each with its values; none where they are not listed."""
    anywhere = dict.fromkeys(TARGET_LABELS, OPEN)
    if metric in FOREIGN:
        return anywhere | dict.fromkeys(FOREIGN[metric], OPEN)
    if metric in BY_NAME and BY_NAME[metric].kind != "histogram":
        return anywhere | dict(BY_NAME[metric].labels)
    family, _, part = metric.rpartition("_")
    if family in BY_NAME and BY_NAME[family].kind == "histogram" and part in {"bucket", "count", "sum"}:
        bounds = (*(str(float(bound)) for bound in BY_NAME[family].buckets), "+Inf")
        return anywhere | dict(BY_NAME[family].labels) | ({"le": bounds} if part == "bucket" else {})
    raise ValueError(f"the catalogue has no metric {metric}")


def shown(metric: str, **labels: str) -> str:
    """A selector of what a dashboard's reader chose to look at."""
    return series(metric, job="=~$job", instance="=~$instance", **labels)


def rate(selector: str) -> str:
    """Growth of a counter a second, each increase counted in exactly one step of a graph."""
    return f"rate({selector}[$__rate_interval])"


def total(expression: str, *by: str) -> str:
    """The sum over pods, and over whatever is not in `by`."""
    return _aggregate("sum", expression, by)


def worst(expression: str, *by: str) -> str:
    """The highest over pods, and over whatever is not in `by`."""
    return _aggregate("max", expression, by)


def soonest(expression: str, *by: str) -> str:
    """The lowest over pods, and over whatever is not in `by`."""
    return _aggregate("min", expression, by)


def _aggregate(operator: str, expression: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)}) ({expression})" if by else f"{operator}({expression})"


def per_minute(selector: str, *by: str) -> str:
    """Growth of a counter a minute, over pods."""
    return f"{total(rate(selector), *by)} * 60"


def over_range(selector: str, *by: str) -> str:
    """Growth of a counter in the time that the dashboard shows, over pods.

    `$__rate_interval` is made so that each increase falls into one step's rate: summed over the steps, it is counted
    once, whether its pod lived all the time or for minutes. (Close to it: Prometheus may take the first increase of a
    counter for a sixth smaller than it was, so counts are shown without decimals.)
    """
    return f"sum_over_time(({total(rate(selector), *by)})[$__range:$__interval]) * $__interval_ms / 1000"


def share(part: str, whole: str) -> str:
    """A part by its whole; nothing, rather than not-a-number, where there is no whole."""
    return f"({part}) / (({whole}) > 0)"


def quantile(q: float, histogram: str, *by: str, **labels: str) -> str:
    """A quantile over pods, as exact as the histogram's buckets."""
    buckets = total(rate(shown(f"{histogram}_bucket", **labels)), *by, "le")
    return f"histogram_quantile({q:g}, {buckets})"


def between(histogram: str, lower: str, upper: str, **labels: str) -> str:
    """The rate of a histogram's observations in a band, over pods; its bounds as the buckets have them, "" for none."""
    below = total(rate(shown(f"{histogram}_bucket", le=upper, **labels)))
    return f"{below} - {total(rate(shown(f'{histogram}_bucket', le=lower, **labels)))}" if lower else below
