"""What the injector tells Prometheus of itself."""

from datetime import datetime
from platform import python_version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

import sidecar
from sidecar.kubernetes.admission import OUTCOMES


class Measures:
    """The injector's metrics, all there from the start."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._admissions = Counter(
            "token_budget_injector_admissions_total",
            "Pods looked at, by what came of it.",
            ["result", "reason"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self._admissions.labels(*outcome)
        self._rejected = Counter(
            "token_budget_injector_requests_rejected_total",
            "Requests that were no admission review.",
            registry=registry,
        )
        self._duration = Histogram(
            "token_budget_injector_admission_duration_seconds",
            "Time to answer an admission review, from its body to the answer's.",
            buckets=(0.001, 0.01, 0.1, 1.0),
            registry=registry,
        )
        self._reloads = Counter(
            "token_budget_injector_certificate_reloads_total",
            "Changes of the certificate's files, by whether they were usable.",
            ["result"],
            registry=registry,
        )
        for result in ("loaded", "failed"):
            self._reloads.labels(result)
        self._expiry = Gauge(
            "token_budget_injector_certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends, in seconds since the epoch.",
            registry=registry,
        )
        build = Gauge(
            "token_budget_injector_build_info",
            "The versions that run: always 1.",
            ["version", "python"],
            registry=registry,
        )
        build.labels(sidecar.__version__, python_version()).set(1)
        ProcessCollector(registry=registry)

    def admitted(self, result: str, reason: str, seconds: float) -> None:
        """A review was answered."""
        self._admissions.labels(result, reason).inc()
        self._duration.observe(seconds)

    def rejected(self) -> None:
        """A request could not be answered as a review."""
        self._rejected.inc()

    def certificate(self, expires: datetime) -> None:
        """This certificate is served."""
        self._expiry.set(expires.timestamp())

    def reloaded(self, usable: bool) -> None:
        """The certificate's files changed."""
        self._reloads.labels("loaded" if usable else "failed").inc()

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format asked for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
