"""What the ledger decided, as spans in the caller's own trace (SPEC section 7), exported over OTLP.

Spans are made after the fact, from the same records as the metrics: a decision that was not made durable never shows.
Only with an endpoint in the environment is any of this loaded but `environment`.

    environment.py   what the standard OTEL_* variables say: whether to export, where to, as whom
    sampling.py      which spans are kept
    spans.py         from a record to spans
    outbox.py        from spans to the collector: bounded, counted, never waited for
    trouble.py       what the log says of a collector that takes none
    sink.py          the sink of the ledger that joins them, and the exemplars
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sidecar.exporters.traces import environment as variables

if TYPE_CHECKING:
    from sidecar.exporters.traces.sink import Traces

__all__ = ["traces"]


def traces(
    environment: Mapping[str, str], *, dropped: Callable[[str, str, int], None], clock: Callable[[], float]
) -> "Traces | None":
    """The sink that exports traces, where the environment names an endpoint for them; None otherwise.

    `dropped` counts what is lost: what, why, how many. `clock`: seconds since the epoch.
    """
    endpoint = variables.endpoint(environment)
    if endpoint is None:
        return None
    from sidecar.exporters.traces.sink import Traces  # the SDK takes a third of a second to load

    return Traces(endpoint, environment, dropped=dropped, clock=clock)
