"""What a program says of itself with each payload: remembered by its bytes, for a bounded number of programs."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.receivers.otlp import wire_protobuf
from sidecar.receivers.otlp.wire import PROTOBUF, decode


def told_of(**attributes: str):
    """What a record knows of a resource with these attributes."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for name, value in attributes.items():
        group.resource.attributes.add(key=name).value.string_value = value
    group.scope_spans.add().spans.add(name="call")
    (record,) = decode("traces", request.SerializeToString(), PROTOBUF)
    return dict(record.resource)


@pytest.mark.parametrize("_", ["for the first time", "remembered"])
def test_two_programs_are_told_apart_by_a_single_letter(_: str):
    for name in ("left", "lift"):
        assert told_of(service=name, version="1") == {"service": name, "version": "1"}


def test_nobody_can_change_what_is_remembered_of_a_program():
    pair = b"\n\x01a\x12\x03\n\x01b"
    remembered = wire_protobuf.resource([pair], iter([None] * 9))
    with pytest.raises(TypeError):
        remembered["a"] = "c"  # type: ignore[index]


def test_so_many_programs_are_remembered_and_none_that_says_more_than_a_few_kilobytes():
    for number in range(500):
        assert told_of(service=f"s{number}") == {"service": f"s{number}"}
        assert told_of(service="x" * 5_000 + f"{number}")["service"].endswith(f"x{number}")
    kept = list(wire_protobuf._resources)
    assert 0 < len(kept) <= 64
    assert all(sum(map(len, pairs)) <= 4_096 for pairs in kept)
