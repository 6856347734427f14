"""What the ledger decided, as spans in the caller's own trace (SPEC section 7), exported over OTLP.

Spans are made after the fact, from the same records as the metrics: a decision that was not made durable never shows.
Only with an endpoint in the environment is any of this loaded but `environment`.

    environment.py   what the standard OTEL_* variables say: whether to export, where to, as whom
    sampling.py      which spans are kept
    spans.py         from a record to spans
    outbox.py        from spans to the collector: bounded, counted, never waited for
    sink.py          the sink of the ledger that joins them, and the exemplars
"""
