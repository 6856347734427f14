"""OTLP/HTTP bodies: protobuf and JSON in, one small shape out; and the bodies that are answered.

What the rest of the receiver reads is a `Record`: a span or a log record with its attributes as plain Python values.
Fields that nobody here reads are not even decoded, and unknown ones are ignored (OTLP specification 1.10, "Binary
Protobuf Encoding", "JSON Protobuf Encoding"). In JSON ids are hexadecimal, names camel case, and 64-bit numbers may be
text.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from sidecar.receivers.bodies import TooLarge, Undecodable
from sidecar.receivers.otlp.wire_json import AnyValue, read_json, whole

Signal: TypeAlias = Literal["traces", "logs", "metrics"]
SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")
Attributes: TypeAlias = Mapping[str, Any]

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
MEDIA = (PROTOBUF, JSON)

_NANO = 1e9
_DEEPEST = 32  # what an attribute nests deeper is not read
_VALUES = 20_000  # of a record, or of its resource; nobody else has a turn while they are read
_GROUPS = 10_000  # resources and scopes of a body: empty ones cost two bytes each, and next to nothing when packed
_LONGEST_ID = 64  # characters; the conventions' ids have 32 and 16
_ERROR = 2  # Status.StatusCode STATUS_CODE_ERROR
_NOTHING: Attributes = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A span, or a log record. Ids are lower-case hex, "" where there is none; times are seconds since the epoch.

    A log record has a `name` where it is an event, and `start` and `end` are both its time. Its `span` is the one it
    was written in.
    """

    signal: Signal
    name: str
    scope: str
    resource: Attributes
    attributes: Attributes
    trace: str
    span: str
    parent: str = ""
    start: float
    end: float
    failed: bool = False
    body: Any = None


def decode(signal: Signal, body: bytes, media: str) -> Iterator[Record]:
    """The records of a body. Metrics are checked alone: no level can be read from them, so they give none.

    Raises, before the first record:
        Undecodable: the body is not what its media type says.
        TooLarge: it has too many resources and scopes, or in JSON objects.
    """
    return _records(signal, read_json(signal, body) if media == JSON else _read_protobuf(signal, body))


# --- protobuf -------------------------------------------------------------------------------------------------------

_REQUESTS: Mapping[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


def _read_protobuf(signal: Signal, body: bytes) -> Any:
    request = _REQUESTS[signal]()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise Undecodable(f"the body is no {request.DESCRIPTOR.name} in protobuf") from None
    return request


def _value(value: Any, left: Iterator[None], depth: int = 0) -> Any:
    """An AnyValue of either encoding as a plain value; None where it is empty, or nested too deeply.

    `left` has an element for each value that may still be read; what comes when it has none is left out.
    """
    if depth > _DEEPEST:
        return None
    if isinstance(value, AnyValue):
        if value.array_value is not None:
            return [_value(each, left, depth + 1) for each, _ in zip(value.array_value.values, left, strict=False)]
        if value.kvlist_value is not None:
            return _attributes(value.kvlist_value.values, left, depth + 1)
        return value.scalar()
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_value(each, left, depth + 1) for each, _ in zip(found.values, left, strict=False)]
    if kind == "kvlist_value":
        return _attributes(found.values, left, depth + 1)
    return found


# --- both -----------------------------------------------------------------------------------------------------------


def _records(signal: Signal, request: Any) -> Iterator[Record]:
    if signal == "metrics":
        return iter(())
    groups = request.resource_spans if signal == "traces" else request.resource_logs
    if len(groups) > _GROUPS:
        raise _too_many()
    below = [group.scope_spans if signal == "traces" else group.scope_logs for group in groups]
    if len(groups) + sum(map(len, below)) > _GROUPS:
        raise _too_many()
    return _spans(groups) if signal == "traces" else _logs(groups)


def _too_many() -> TooLarge:
    return TooLarge(f"the body has more than {_GROUPS:,} resources and scopes")


def _left() -> Iterator[None]:
    return repeat(None, _VALUES)


# What is empty is passed over at once: only who gets a record can let others have a turn.


def _spans(groups: Iterable[Any]) -> Iterator[Record]:
    for group in groups:
        filled = [scoped for scoped in group.scope_spans if scoped.spans]
        resource = _resource(group) if filled else _NOTHING
        for scoped in filled:
            scope = scoped.scope.name if scoped.scope is not None else ""
            for span in scoped.spans:
                status = span.status
                yield Record(
                    signal="traces",
                    name=span.name,
                    scope=scope,
                    resource=resource,
                    attributes=_attributes(span.attributes, _left()),
                    trace=_id(span.trace_id),
                    span=_id(span.span_id),
                    parent=_id(span.parent_span_id),
                    start=_seconds(span.start_time_unix_nano),
                    end=_seconds(span.end_time_unix_nano),
                    failed=status is not None and status.code in (_ERROR, "STATUS_CODE_ERROR"),
                )


def _logs(groups: Iterable[Any]) -> Iterator[Record]:
    for group in groups:
        filled = [scoped for scoped in group.scope_logs if scoped.log_records]
        resource = _resource(group) if filled else _NOTHING
        for scoped in filled:
            scope = scoped.scope.name if scoped.scope is not None else ""
            for log in scoped.log_records:
                left = _left()
                attributes = _attributes(log.attributes, left)
                at = _seconds(log.time_unix_nano) or _seconds(log.observed_time_unix_nano)
                body = _value(log.body, left) if log.body is not None else None
                # Before events had a field for their name it was an attribute, and with some emitters the body.
                name = log.event_name or attributes.get("event.name") or body
                yield Record(
                    signal="logs",
                    name=name if isinstance(name, str) else "",
                    scope=scope,
                    resource=resource,
                    attributes=attributes,
                    trace=_id(log.trace_id),
                    span=_id(log.span_id),
                    start=at,
                    end=at,
                    body=body,
                )


def _resource(group: Any) -> Attributes:
    return _attributes(group.resource.attributes, _left()) if group.resource is not None else _NOTHING


def _attributes(pairs: Iterable[Any], left: Iterator[None], depth: int = 0) -> dict[str, Any]:
    return {
        pair.key: _value(pair.value, left, depth)
        for pair, _ in zip(pairs, left, strict=False)
        if pair.value is not None
    }


def _id(id: bytes | str) -> str:
    """An id in hex; "" where there is none (all zeros), or one so long that remembering it would cost."""
    if len(id) > _LONGEST_ID:
        return ""
    text = id.hex() if isinstance(id, bytes) else id.lower()
    return text if text.strip("0") else ""


def _seconds(nanoseconds: int | str) -> float:
    return (whole(nanoseconds) or 0) / _NANO


# --- answers --------------------------------------------------------------------------------------------------------

_RESPONSES: Mapping[Signal, tuple[type[Message], str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}


def encode_response(signal: Signal, media: str, *, rejected: int = 0, detail: str = "") -> bytes:
    """The body of a 200: with `partial_success` where records were rejected, else empty ("Full Success")."""
    cls, counter = _RESPONSES[signal]
    if media == JSON:
        if not rejected and not detail:
            return b"{}"
        first, *rest = counter.split("_")
        camel = first + "".join(part.title() for part in rest)
        return msgspec.json.encode({"partialSuccess": {camel: str(rejected), "errorMessage": detail}})
    response: Any = cls()
    if rejected or detail:
        setattr(response.partial_success, counter, rejected)
        response.partial_success.error_message = detail
    return bytes(response.SerializeToString())


def encode_status(code: int, message: str, media: str) -> bytes:
    """The body of an error: a google.rpc.Status ("Failures"). `code` is of google.rpc.Code."""
    if media == PROTOBUF:
        return bytes(Status(code=code, message=message).SerializeToString())
    return msgspec.json.encode({"code": code, "message": message})
