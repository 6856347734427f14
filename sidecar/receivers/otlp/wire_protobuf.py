"""OTLP/protobuf: bodies into messages in which each attribute stays the bytes that it came as.

Most spans of a trace say nothing of a window, and most attributes of the others neither. To make a Python value of each
costs twenty times what decoding the body does. So a body is first decoded by the protocol's own messages, which tells
whether it is one, and then by narrower ones of the same numbers: what nobody reads is left out, and an attribute, a
status and a body of a log record are bytes, to be told apart by their beginning and decoded when they mean something.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidecar.receivers.bodies import Undecodable
from sidecar.receivers.otlp.mapping import FLAT, Meaning, Place, Told, place_of
from sidecar.receivers.otlp.wire_json import DEEPEST, LONGEST_ID

_REMEMBERED = 1_024  # attributes that come again and again, as most do
_MANY = 128  # attributes of a record, of which some may have to be left out
_SHORT = 127  # bytes of one that is remembered; a length of one byte
_RESOURCES = 64  # remembered, each of at most so many bytes
_LONGEST_RESOURCE = 4_096
# Of these no value is likely to come again.
_UNIQUE = frozenset({Meaning.RESPONSE, Meaning.TOOL_CALL, Meaning.TOOL_RESULT, Meaning.INPUT, Meaning.OUTPUT, FLAT})

_WHOLE: Mapping[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}

# Message: its fields, by their names and numbers in the protocol. What is no type of the wire is a message of ours.
_NARROW: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Scope": {"name": (1, "string")},
    "Resource": {"attributes": (1, "repeated bytes")},
    "Span": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "parent_span_id": (4, "bytes"),
        "name": (5, "string"),
        "start_time_unix_nano": (7, "fixed64"),
        "end_time_unix_nano": (8, "fixed64"),
        "attributes": (9, "repeated bytes"),
        "status": (15, "bytes"),
    },
    "LogRecord": {
        "time_unix_nano": (1, "fixed64"),
        "body": (5, "bytes"),
        "attributes": (6, "repeated bytes"),
        "trace_id": (9, "bytes"),
        "span_id": (10, "bytes"),
        "observed_time_unix_nano": (11, "fixed64"),
        "event_name": (12, "string"),
    },
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "repeated Span")},
    "ScopeLogs": {"scope": (1, "Scope"), "log_records": (2, "repeated LogRecord")},
    "ResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, "repeated ScopeSpans")},
    "ResourceLogs": {"resource": (1, "Resource"), "scope_logs": (2, "repeated ScopeLogs")},
    "Traces": {"resource_spans": (1, "repeated ResourceSpans")},
    "Logs": {"resource_logs": (1, "repeated ResourceLogs")},
}
_TYPES = {"string": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES, "fixed64": Field.TYPE_FIXED64}


def _narrow() -> Mapping[str, type[Message]]:
    package = "token_budget.otlp"
    file = FileDescriptorProto(name="token_budget/otlp.proto", package=package, syntax="proto3")
    for name, fields in _NARROW.items():
        message = file.message_type.add(name=name)
        for field, (number, said) in fields.items():
            repeated, _, kind = said.rpartition(" ")
            made = message.field.add(name=field, number=number)
            made.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            made.type = _TYPES.get(kind, Field.TYPE_MESSAGE)
            if kind not in _TYPES:
                made.type_name = f".{package}.{kind}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    classes = {signal: f"{package}.{signal.title()}" for signal in ("traces", "logs")}
    return {signal: GetMessageClass(pool.FindMessageTypeByName(name)) for signal, name in classes.items()}


_REQUESTS = _narrow()


def read(signal: str, body: bytes) -> Any:
    """The request in a body of a signal (traces, logs; of metrics nothing is read). Raises `Undecodable`."""
    whole = _WHOLE[signal]
    request = _REQUESTS.get(signal, whole)()
    try:
        whole().ParseFromString(body)
        if signal in _REQUESTS:
            request.ParseFromString(body)  # may know a text that an older release of the protocol's messages does not
    except DecodeError:
        raise Undecodable(f"the body is no {whole.DESCRIPTOR.name} in protobuf") from None
    return request


# What attributes tell by all their bytes, and what they are by their names; None: nothing to us.
_told: dict[bytes, tuple[Meaning, int, Any] | None] = {}
_NEW: Any = object()  # said of none that was seen before
_places: dict[bytes, Place | None] = {}


def told(pairs: Sequence[bytes], left: Iterator[None]) -> Told:
    """What attributes say. Most of them come again and again, and are known by their bytes."""
    found: Told = {}
    ranks: dict[Meaning, int] = {}
    for pair in pairs[:] if len(pairs) < _MANY else _first(pairs, left):
        said = _told.get(pair, _NEW)
        if said is _NEW:
            said = _tell(pair, left)
        if said is not None:
            meaning, rank, value = said
            if meaning not in found or rank <= ranks[meaning]:
                found[meaning], ranks[meaning] = value, rank
    return found


def _first(pairs: Iterable[bytes], left: Iterator[None]) -> Iterator[bytes]:
    return (pair for pair, _ in zip(pairs, left, strict=False))


def _tell(pair: bytes, left: Iterator[None]) -> tuple[Meaning, int, Any] | None:
    """What an attribute says; None where that is nothing to us, or it has no value."""
    # As everybody writes it the key comes first, and is short.
    if pair[:1] == b"\n" and pair[1] <= _SHORT:
        end = 2 + pair[1]
        key = pair[2:end]
    else:
        end, key = len(pair), KeyValue.FromString(pair).key.encode()
    place = _places[key] if key in _places else _place(key)
    said = None
    if place is not None:
        value: Any
        # A short text, alone in the field `value`; what else it may be, or which field, is told by decoding it.
        if pair[end : end + 3 : 2] == b"\x12\n" and len(pair) == end + 2 + pair[end + 1] == end + 4 + pair[end + 3]:
            value = pair[end + 4 :].decode()
        else:
            value = True if place[0] is FLAT else plain(KeyValue.FromString(pair).value, left)
        if value is not None and value != "":
            said = (*place, value)
    # Of lists and maps only so much is read as is left to read: what one record leaves out another may tell.
    if len(pair) <= _SHORT and (place is None or (place[0] not in _UNIQUE and not _is_nested(said))):
        if len(_told) >= _REMEMBERED:
            _told.clear()
        _told[pair] = said
    return said


def _is_nested(said: tuple[Meaning, int, Any] | None) -> bool:
    return said is not None and isinstance(said[2], list | dict)


def _place(key: bytes) -> Place | None:
    place = place_of(key.decode())
    if len(_places) < _REMEMBERED and len(key) <= _SHORT:
        _places[key] = place
    return place


def attributes(pairs: Iterable[bytes], left: Iterator[None]) -> dict[str, Any]:
    """All attributes as plain values, by name."""
    decoded = (KeyValue.FromString(pair) for pair, _ in zip(pairs, left, strict=False))
    return {pair.key: plain(pair.value, left) for pair in decoded}


# What a program says of itself comes with each of its payloads.
_resources: dict[tuple[bytes, ...], Mapping[str, Any]] = {}


def resource(pairs: Iterable[bytes], left: Iterator[None]) -> Mapping[str, Any]:
    """The attributes of a resource as plain values, by name."""
    key = tuple(pairs)
    found = _resources.get(key)
    if found is None:
        found = MappingProxyType(attributes(key, left))
        if len(key) < _MANY and sum(map(len, key)) <= _LONGEST_RESOURCE:
            if len(_resources) >= _RESOURCES:
                _resources.clear()
            _resources[key] = found
    return found


def body(value: bytes, left: Iterator[None]) -> Any:
    """A log record's body as a plain value."""
    return plain(AnyValue.FromString(value), left)


def failed(status: bytes) -> bool:
    """Whether a span's status is an error. Mostly it is not set, and empty."""
    return bool(status) and Status.FromString(status).code == Status.STATUS_CODE_ERROR


def seconds(nanoseconds: int) -> float:
    """A time in seconds."""
    return nanoseconds / 1e9


def hexed(id: bytes) -> str:
    """An id in hex; "" where there is none (all zeros), or one so long that remembering it would cost."""
    return id.hex() if id and len(id) <= LONGEST_ID and id.strip(b"\0") else ""


def plain(value: Any, left: Iterator[None], depth: int = 0) -> Any:
    """An AnyValue as a plain value; None where it is empty, or nested too deeply.

    `left` has an element for each value that may still be read; what comes when it has none is left out.
    """
    if depth > DEEPEST:
        return None
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [plain(each, left, depth + 1) for each, _ in zip(found.values, left, strict=False)]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value, left, depth + 1) for pair, _ in zip(found.values, left, strict=False)}
    return found
