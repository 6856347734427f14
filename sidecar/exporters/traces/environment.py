"""What the standard OTEL_* variables say about the export of traces (OpenTelemetry specification, "OTLP Exporter").

What concerns limits, headers, certificates, compression and timeouts is read by the SDK itself. A value that makes no
sense is logged and stops nothing, as that specification asks for.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_log = logging.getLogger(__name__)

PROTOCOL = "http/protobuf"
# Who this is in Kubernetes: what the downward API is usually asked to fill in, by resource attribute.
_DOWNWARD = {
    "k8s.namespace.name": ("K8S_NAMESPACE_NAME", "POD_NAMESPACE"),
    "k8s.node.name": ("K8S_NODE_NAME", "NODE_NAME"),
    "k8s.pod.name": ("K8S_POD_NAME", "POD_NAME"),
    "k8s.pod.uid": ("K8S_POD_UID", "POD_UID"),
}


def endpoint(environment: Mapping[str, str]) -> str | None:
    """Where traces are exported to; None where they are not."""
    if _given(environment, "OTEL_SDK_DISABLED").lower() == "true":
        return None
    url = _given(environment, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = _given(environment, "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not url and base:
        url = f"{base.rstrip('/')}/v1/traces"
    if not url:
        return None
    exporters = [each.strip() for each in _given(environment, "OTEL_TRACES_EXPORTER").split(",")]
    if "none" in exporters:
        return None
    if exporters != [""] and "otlp" not in exporters:
        _log.warning("no traces are exported: OTEL_TRACES_EXPORTER must be otlp or none, not %s", ",".join(exporters))
        return None
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = _given(environment, name)
        if protocol and protocol != PROTOCOL:
            _log.warning("no traces are exported: %s must be %s, not %s", name, PROTOCOL, protocol)
            return None
        if protocol:
            break
    if not _is_url(url):
        _log.warning("no traces are exported: OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://")
        return None
    return url


@dataclass(frozen=True, slots=True)
class Batching:
    """How spans are exported: `waiting` at most wait, `together` at most go at a time, `every` so many milliseconds."""

    waiting: int
    together: int
    every: int


def batching(environment: Mapping[str, str]) -> Batching:
    """What OTEL_BSP_* say. The SDK would not start where a batch is larger than what may wait."""
    waiting = _positive(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2_048)
    together = _positive(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)
    return Batching(waiting, min(together, waiting), _positive(environment, "OTEL_BSP_SCHEDULE_DELAY", 5_000))


def kubernetes(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The resource attributes of the pod, as far as the environment tells them."""
    found = {}
    for attribute, names in _DOWNWARD.items():
        value = next((environment[name] for name in names if environment.get(name)), None)
        if value is not None:
            found[attribute] = value
    return found


def _given(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip()


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = _given(environment, name)
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        _log.warning("%s must be a whole number above 0, not %s; it is taken for %d", name, text, default)
    return default


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
