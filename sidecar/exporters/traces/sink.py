"""The sink: records in, spans out, and for each record the exemplar that leads a metric to its trace."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

import sidecar
from sidecar.budget.session import Session
from sidecar.exporters.peers import Listener, leads_to, shown
from sidecar.exporters.traces.environment import batching, kubernetes
from sidecar.exporters.traces.outbox import Outbox
from sidecar.exporters.traces.sampling import KeepRemarkable
from sidecar.exporters.traces.spans import Spans
from sidecar.exporters.traces.trouble import Trouble
from sidecar.ledger import Record

_log = logging.getLogger(__name__)

SERVICE: Final = "token-budget-sidecar"


class Traces:
    """Exports spans to `endpoint` between `start` and `stop`. A `Sink` of the ledger; make it the first one.

    `dropped` counts what is lost: what, why, how many. `clock`: seconds since the epoch.
    """

    def __init__(
        self,
        endpoint: str,
        environment: Mapping[str, str],
        *,
        dropped: Callable[[str, str, int], None],
        clock: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._environment = environment
        self._dropped = dropped
        self._clock = clock
        self._outbox: Outbox | None = None
        self._spans: Spans | None = None
        self._shown: tuple[Record, SpanContext] | None = None

    async def start(self, listeners: Iterable[Listener] = ()) -> None:
        """Begin to export, unless that would lead to one of our own `listeners`."""
        if await leads_to(self._endpoint, listeners):
            _log.error("no traces are exported: %s is this sidecar itself", shown(self._endpoint))
            return
        self._outbox = Outbox(
            OTLPSpanExporter(endpoint=self._endpoint),
            lambda reason, count: self._dropped("span", reason, count),
            batching(self._environment),
            trouble=Trouble(self._endpoint),
        )
        provider = TracerProvider(resource=resource(self._environment), shutdown_on_exit=False)
        # The provider has read OTEL_TRACES_SAMPLER: that decides where nobody calls.
        provider.sampler = KeepRemarkable(provider.sampler)
        provider.add_span_processor(self._outbox)
        self._spans = Spans(provider.get_tracer("sidecar", sidecar.__version__), clock=self._clock)
        _log.info("traces are exported to %s", shown(self._endpoint))

    async def stop(self, *, patience: float = 3.0) -> None:
        """Export what waits, for at most so many seconds; later records are not traced."""
        self._spans = self._shown = None
        if self._outbox is not None:
            await self._outbox.close(patience)
            self._outbox = None

    def publish(self, record: Record) -> None:
        """Make the spans of a command that was decided and is durable."""
        if self._spans is not None:
            found = self._spans.make(record)
            self._shown = None if found is None else (record, found)

    def retire(self, session: Session) -> None:
        """An idle session has no span until it is closed."""

    def exemplar(self, record: Record) -> Mapping[str, str] | None:
        """The labels that lead from the record that was published last to its span, where that was kept."""
        if self._shown is None or self._shown[0] is not record:
            return None
        context = self._shown[1]
        return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def resource(environment: Mapping[str, str]) -> Resource:
    """Who exports: this program, its pod where the environment tells, and above all what OTEL_* says."""
    ours = {"service.name": SERVICE, "service.version": sidecar.__version__, **kubernetes(environment)}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
