"""OTLP/HTTP bodies: protobuf and JSON in, one small shape out; and the bodies that are answered.

What the rest of the receiver reads is a `Record`: a span or a log record, and what its attributes tell. Fields that
nobody here reads are not even decoded, and unknown ones are ignored (OTLP specification 1.10, "Binary Protobuf
Encoding", "JSON Protobuf Encoding"). In JSON ids are hexadecimal, names camel case, and 64-bit numbers may be text.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from typing_extensions import override

from sidecar.receivers.bodies import TooLarge
from sidecar.receivers.otlp import wire_json, wire_protobuf
from sidecar.receivers.otlp.mapping import Meaning, Told

Signal: TypeAlias = Literal["traces", "logs", "metrics"]
SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
MEDIA = (PROTOBUF, JSON)

_VALUES = 20_000  # of a record, or of its resource; nobody else has a turn while they are read
_GROUPS = 10_000  # resources and scopes of a body: empty ones cost two bytes each, and next to nothing when packed
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Form(Protocol):
    """What the two encodings differ in, once a body is decoded."""

    def read(self, signal: str, body: bytes) -> Any:
        """The request in a body of a signal. Raises `Undecodable` or `TooLarge`."""
        ...

    def told(self, pairs: Any, left: Iterator[None]) -> Told:
        """What attributes say. `left` has an element for each value that may be read; the rest is left out."""
        ...

    def attributes(self, pairs: Any, left: Iterator[None]) -> dict[str, Any]:
        """All attributes as plain values, by name."""
        ...

    def resource(self, pairs: Any, left: Iterator[None]) -> Mapping[str, Any]:
        """The attributes of a resource as plain values, by name; nobody changes them."""
        ...

    def body(self, value: Any, left: Iterator[None]) -> Any:
        """The body of a log record as a plain value."""
        ...

    def failed(self, status: Any) -> bool:
        """Whether a span's status is an error."""
        ...

    def hexed(self, id: Any) -> str:
        """An id in hex; "" where there is none."""
        ...

    def seconds(self, nanoseconds: Any) -> float:
        """A time in seconds."""
        ...


class Attributes(Mapping[str, Any]):
    """All attributes of a record as plain values, which they become when somebody looks."""

    __slots__ = ("_all", "_form", "_pairs")

    def __init__(self, pairs: Any, form: Form) -> None:
        self._pairs, self._form = pairs, form
        self._all: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        """As a dictionary."""
        if self._all is None:
            self._all = self._form.attributes(self._pairs, repeat(None, _VALUES))
        return self._all

    @override
    def __getitem__(self, name: str) -> Any:
        return self.read()[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    @override
    def __len__(self) -> int:
        return len(self.read())


@dataclass(slots=True)  # neither frozen nor made by keyword: either doubles what it costs, for each span
class Record:
    """A span, or a log record. Ids are lower-case hex, "" where there is none; times are seconds since the epoch.

    A log record has a `name` where it is an event, and `start` and `end` are both its time. Its `span` is the one it
    was written in. `told` is what those of its attributes say whose names the table (`mapping`) knows.
    """

    signal: Signal
    name: str
    scope: str
    resource: Mapping[str, Any]
    attributes: Mapping[str, Any]
    trace: str
    span: str
    parent: str
    start: float
    end: float
    failed: bool = False
    told: Told = field(default_factory=dict)


def decode(signal: Signal, body: bytes, media: str) -> Iterator[Record]:
    """The records of a body. Metrics are checked alone: no level can be read from them, so they give none.

    Raises, before the first record:
        Undecodable: the body is not what its media type says.
        TooLarge: it has too many resources and scopes, or in JSON objects.
    """
    form: Form = wire_json if media == JSON else wire_protobuf
    return _records(signal, form.read(signal, body), form)


# What is empty is passed over at once: only who gets a record can let others have a turn.


def _records(signal: Signal, request: Any, form: Form) -> Iterator[Record]:
    if signal == "metrics":
        return iter(())
    groups = request.resource_spans if signal == "traces" else request.resource_logs
    if len(groups) > _GROUPS:
        raise _too_many()
    below = [group.scope_spans if signal == "traces" else group.scope_logs for group in groups]
    if len(groups) + sum(map(len, below)) > _GROUPS:
        raise _too_many()
    return _spans(groups, form) if signal == "traces" else _logs(groups, form)


def _too_many() -> TooLarge:
    return TooLarge(f"the body has more than {_GROUPS:,} resources and scopes")


def _spans(groups: Iterable[Any], form: Form) -> Iterator[Record]:
    told, failed, seconds, hexed = form.told, form.failed, form.seconds, form.hexed
    for group in groups:
        filled = [scoped for scoped in group.scope_spans if scoped.spans]
        resource = _resource(group, form) if filled else _NOTHING
        for scoped in filled:
            scope = scoped.scope.name if scoped.scope is not None else ""
            for span in scoped.spans:
                pairs = span.attributes
                yield Record(
                    "traces",
                    span.name,
                    scope,
                    resource,
                    Attributes(pairs, form),
                    hexed(span.trace_id),
                    hexed(span.span_id),
                    hexed(span.parent_span_id),
                    seconds(span.start_time_unix_nano),
                    seconds(span.end_time_unix_nano),
                    failed(span.status),
                    told(pairs, repeat(None, _VALUES)),
                )


def _logs(groups: Iterable[Any], form: Form) -> Iterator[Record]:
    for group in groups:
        filled = [scoped for scoped in group.scope_logs if scoped.log_records]
        resource = _resource(group, form) if filled else _NOTHING
        for scoped in filled:
            scope = scoped.scope.name if scoped.scope is not None else ""
            for log in scoped.log_records:
                left = repeat(None, _VALUES)
                told = form.told(log.attributes, left)
                at = form.seconds(log.time_unix_nano) or form.seconds(log.observed_time_unix_nano)
                # Before events had a field for their name it was an attribute, and with some emitters the body.
                name = log.event_name or told.get(Meaning.EVENT) or form.body(log.body, left)
                yield Record(
                    "logs",
                    name if isinstance(name, str) else "",
                    scope,
                    resource,
                    Attributes(log.attributes, form),
                    form.hexed(log.trace_id),
                    form.hexed(log.span_id),
                    "",
                    at,
                    at,
                    told=told,
                )


def _resource(group: Any, form: Form) -> Mapping[str, Any]:
    return form.resource(group.resource.attributes, repeat(None, _VALUES)) if group.resource is not None else _NOTHING


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
