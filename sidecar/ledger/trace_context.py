"""A caller's place in its own trace (W3C Trace Context), so that what it causes can be shown there."""

import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_KNOWN_FLAGS = 0x03  # sampled, and a random trace id


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The caller's trace and span, neither of them 0. `state` is its tracestate as it was sent."""

    trace_id: int
    span_id: int
    flags: int = _SAMPLED
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the caller records its trace."""
        return bool(self.flags & _SAMPLED)


def from_headers(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """What the headers say; None where `traceparent` is not valid (section 3.2.2 of the recommendation)."""
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == "ff" or (more is not None and version == "00"):
        return None
    return _valid(TraceContext(int(trace, 16), int(span, 16), int(flags, 16) & _KNOWN_FLAGS, tracestate))


def from_ids(trace: str, span: str) -> TraceContext | None:
    """The place of a span that was recorded, by its ids in hex as OTLP has them; None where they are none."""
    try:
        return _valid(TraceContext(int(trace, 16), int(span, 16)))
    except ValueError:
        return None


def _valid(context: TraceContext) -> TraceContext | None:
    return context if 0 < context.trace_id < 1 << 128 and 0 < context.span_id < 1 << 64 else None
