"""OTLP/JSON: bodies into shapes whose fields have the names of protobuf's, decoded by msgspec in one go.

Fields that nobody reads are left out, and unknown ones are ignored. 64-bit numbers may be text (OTLP specification
1.10, "JSON Protobuf Encoding").
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from sidecar.receivers.bodies import TooLarge, Undecodable
from sidecar.receivers.otlp.mapping import FLAT, Meaning, Told, place_of

OBJECTS = 500_000  # braces that open in a body: it is decoded in one go, a microsecond each
LONGEST_ID = 64  # characters, or bytes; the conventions' ids have 32 and 16 of either
DEEPEST = 32  # what an attribute nests deeper is not read
_LONGEST_NUMBER = 20  # digits of 64 bits
_ERROR = 2  # Status.StatusCode STATUS_CODE_ERROR


class _Struct(msgspec.Struct, rename="camel", gc=False):
    """What all parts have in common: camel case, and whatever else is there is ignored."""


class _KeyValue(_Struct):
    key: str = ""
    value: "AnyValue | None" = None


class _Values(_Struct):
    values: "list[AnyValue]" = []


class _Pairs(_Struct):
    values: list[_KeyValue] = []


class AnyValue(_Struct):
    """A value of one of the kinds that attributes and bodies of log records have."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bytes_value: str | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None

    def scalar(self) -> str | int | float | None:
        """The value that is set, but for lists and maps; None where it is none of its kind."""
        if self.string_value is not None:
            return self.string_value
        if self.int_value is not None:
            return whole(self.int_value)
        if self.bool_value is not None:
            return self.bool_value
        if self.double_value is not None:
            return _real(self.double_value)
        return self.bytes_value


class _Scope(_Struct):
    name: str = ""


class _Resource(_Struct):
    attributes: list[_KeyValue] = []


class _SpanStatus(_Struct):
    code: int | str = 0


class _Span(_Struct):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []
    status: _SpanStatus | None = None


class _LogRecord(_Struct):
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""
    time_unix_nano: int | str = 0
    observed_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []
    body: AnyValue | None = None


class _ScopeSpans(_Struct):
    scope: _Scope | None = None
    spans: list[_Span] = []


class _ScopeLogs(_Struct):
    scope: _Scope | None = None
    log_records: list[_LogRecord] = []


class _ResourceSpans(_Struct):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _ResourceLogs(_Struct):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] = []


class _Traces(_Struct):
    resource_spans: list[_ResourceSpans] = []


class _Logs(_Struct):
    resource_logs: list[_ResourceLogs] = []


class _Metrics(_Struct):
    resource_metrics: list[dict[str, Any]] = []


_DECODERS: Mapping[str, Callable[[bytes], Any]] = {
    "traces": msgspec.json.Decoder(_Traces).decode,
    "logs": msgspec.json.Decoder(_Logs).decode,
    "metrics": msgspec.json.Decoder(_Metrics).decode,
}


def read(signal: str, body: bytes) -> Any:
    """The request in a body of a signal (traces, logs, metrics).

    Raises:
        Undecodable: the body is no OTLP/JSON.
        TooLarge: it has too many objects.
    """
    if body.count(b"{") > OBJECTS:
        raise TooLarge(f"the body has more than {OBJECTS:,} objects")
    try:
        return _DECODERS[signal](body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the body is no OTLP/JSON: {error}") from None


def told(pairs: Iterable[_KeyValue], left: Iterator[None]) -> Told:
    """What attributes say; those that say nothing to us are passed over."""
    found: Told = {}
    ranks: dict[Meaning, int] = {}
    for pair, _ in zip(pairs, left, strict=False):
        place = place_of(pair.key)
        if place is None or pair.value is None:
            continue
        meaning, rank = place
        if meaning is FLAT:
            found[FLAT] = True
        elif rank <= ranks.get(meaning, rank):
            value = plain(pair.value, left)
            if value is not None and value != "":
                found[meaning], ranks[meaning] = value, rank
    return found


def attributes(pairs: Iterable[_KeyValue], left: Iterator[None], depth: int = 0) -> dict[str, Any]:
    """All attributes as plain values, by name."""
    return {
        pair.key: plain(pair.value, left, depth) for pair, _ in zip(pairs, left, strict=False) if pair.value is not None
    }


def resource(pairs: Iterable[_KeyValue], left: Iterator[None]) -> dict[str, Any]:
    """The attributes of a resource as plain values, by name."""
    return attributes(pairs, left)


def plain(value: AnyValue, left: Iterator[None], depth: int = 0) -> Any:
    """An AnyValue as a plain value; None where it is empty, or nested too deeply.

    `left` has an element for each value that may still be read; what comes when it has none is left out.
    """
    if depth > DEEPEST:
        return None
    if value.array_value is not None:
        return [plain(each, left, depth + 1) for each, _ in zip(value.array_value.values, left, strict=False)]
    if value.kvlist_value is not None:
        return attributes(value.kvlist_value.values, left, depth + 1)
    return value.scalar()


def body(value: AnyValue | None, left: Iterator[None]) -> Any:
    """A log record's body as a plain value."""
    return plain(value, left) if value is not None else None


def failed(status: _SpanStatus | None) -> bool:
    """Whether a span's status is an error."""
    return status is not None and status.code in (_ERROR, "STATUS_CODE_ERROR")


def seconds(nanoseconds: int | str) -> float:
    """A time in seconds; 0 where it is none."""
    return (whole(nanoseconds) or 0) / 1e9


def hexed(id: str) -> str:
    """An id in lower case; "" where there is none (all zeros), or one so long that remembering it would cost."""
    return id.lower() if len(id) <= LONGEST_ID and id.strip("0") else ""


def whole(number: int | str) -> int | None:
    """A 64-bit number; None where it is none. Text of any length may claim to be one."""
    if isinstance(number, str) and len(number) > _LONGEST_NUMBER:
        return None
    try:
        found = int(number)
    except ValueError:
        return None
    return found if -(1 << 63) <= found < 1 << 64 else None


def _real(number: float | str) -> float | None:
    try:
        return float(number)
    except ValueError:
        return None
