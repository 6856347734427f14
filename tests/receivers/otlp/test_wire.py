"""OTLP/HTTP, held against its specification (1.10) point by point, and against whatever else may come in."""

import asyncio
import gzip
import json
import os
import resource
import zlib
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from sidecar.app import make_app
from sidecar.budget.errors import Conflict
from sidecar.journal import JournalError
from sidecar.ledger import Ledger, Overloaded
from sidecar.receivers.otlp.mapping import Meaning
from sidecar.receivers.otlp.wire import decode, encode_response

PROTOBUF, JSON = "application/x-protobuf", "application/json"
SIGNALS = ("traces", "logs", "metrics")
RESPONSES: dict[str, Any] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


def spans_of(*spans):
    """A payload of spans."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


CUT = gzip.compress(b"{}" * 999)[:-9]
# (specification, media type, body, headers, status)
POINTS = [
    ("Binary Protobuf: Content-Type application/x-protobuf, an empty request is one", PROTOBUF, b"", {}, 200),
    ("JSON Protobuf: Content-Type application/json", JSON, b"{}", {}, 200),
    ("Content-Type may have parameters", JSON + "; charset=utf-8", b"{}", {}, 200),
    ("Compression: gzip", JSON, gzip.compress(b"{}"), {"Content_Encoding": "gzip"}, 200),
    ("Compression: none", JSON, b"{}", {"Content_Encoding": "identity"}, 200),
    ("Unknown fields are ignored", JSON, b'{"new":[1,{"a":null}],"resourceSpans":[],"resourceLogs":[]}', {}, 200),
    ("Bad Data: 400, not to be sent again: no protobuf", PROTOBUF, b"\xff\xff\xff", {}, 400),
    ("Bad Data: 400: no JSON", JSON, b"{", {}, 400),
    ("Bad Data: 400: nothing is no JSON", JSON, b"", {}, 400),
    ("Bad Data: 400: another JSON", JSON, b"[]", {}, 400),
    ("Bad Data: 400: not gzip", JSON, b"{}", {"Content_Encoding": "gzip"}, 400),
    ("Bad Data: 400: gzip that ends too early", JSON, CUT, {"Content_Encoding": "gzip"}, 400),
    ("All Other Responses: 415 for another type", "text/plain", b"{}", {}, 415),
    ("All Other Responses: 415 for another compression", JSON, b"{}", {"Content_Encoding": "zstd"}, 415),
]  # fmt: skip


@pytest.mark.parametrize("to", ["otlp", "api"])
@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("point", "media", "body", "headers", "status"), POINTS, ids=[each[0] for each in POINTS])
async def test_the_specification_holds(otlp, signal, to, point, media, body, headers, status):
    answer = await otlp.post(signal, body, to=to, Content_Type=media, **headers)
    assert answer.status == status
    sent = media.partition(";")[0]
    if sent in (PROTOBUF, JSON):
        # "The server MUST use the same Content-Type in the response"
        assert answer.headers["Content-Type"].partition(";")[0] == sent
    if status == 200:
        # "Full Success": the signal's response, `partial_success` not set
        assert answer.body == (b"" if sent == PROTOBUF else b"{}")
        RESPONSES[signal].FromString(answer.body if sent == PROTOBUF else b"")
    elif sent == PROTOBUF:
        # "Failures": the body is a google.rpc.Status
        assert Status.FromString(answer.body).message
    else:
        assert json.loads(answer.body)["message"]


@pytest.mark.parametrize("media", [PROTOBUF, JSON])
@pytest.mark.parametrize(("error", "status"), [(JournalError("down"), 503), (Overloaded("full", retry_after=7), 429)])
async def test_what_may_succeed_later_is_told_so_and_when(otlp, story, monkeypatch, media, error, status):
    """The specification calls these retryable; nothing is lost or counted twice when it is sent again."""

    async def refuse(self, asks):
        raise error

    payload = spans_of(story.chat(1000, gen_ai__response__id="r1"))
    body = json.dumps(payload).encode()
    if media == PROTOBUF:
        body = as_protobuf(payload)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "handle_all", refuse)
        for _ in range(2):
            answer = await otlp.post("traces", body, Content_Type=media)
            assert (answer.status, int(answer.headers["Retry-After"])) == (status, 7 if status == 429 else 2)
            assert answer.headers["Content-Type"] == media
    for _ in range(2):
        assert (await otlp.post("traces", body, Content_Type=media)).status == 200
    assert (await otlp.level("c1"), await otlp.calls("c1")) == (1000, 1)


def as_protobuf(payload):
    """A small payload of chat spans in protobuf."""
    request = ExportTraceServiceRequest()
    for span in payload["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        made = (
            request.resource_spans.add()
            .scope_spans.add()
            .spans.add(
                trace_id=bytes.fromhex(span["traceId"]), span_id=bytes.fromhex(span["spanId"]), name=span["name"]
            )
        )
        made.start_time_unix_nano, made.end_time_unix_nano = (
            int(span[f"{each}TimeUnixNano"]) for each in ("start", "end")
        )
        for pair in span["attributes"]:
            ((kind, value),) = pair["value"].items()
            attribute = made.attributes.add(key=pair["key"])
            if kind == "intValue":
                attribute.value.int_value = int(value)
            else:
                attribute.value.string_value = value
    return request.SerializeToString()


async def test_what_was_refused_for_good_is_counted_in_partial_success(otlp, story, monkeypatch):
    """Status 200, the number that was rejected, and why."""

    async def refuse(self, asks):
        return [Conflict("so it is")] * len(asks)

    monkeypatch.setattr(Ledger, "handle_all", refuse)
    answer = await otlp.post("traces", spans_of(story.chat(1000)))
    assert answer.status == 200
    assert json.loads(answer.body) == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "so it is"}}
    answer = await otlp.post("traces", as_protobuf(spans_of(story.chat(1000))), Content_Type=PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 2


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_partial_success_names_its_signal_s_records(signal):
    counter = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}[signal]
    told = json.loads(encode_response(signal, JSON, rejected=3, detail="why"))
    assert told == {"partialSuccess": {counter: "3", "errorMessage": "why"}}
    assert RESPONSES[signal].FromString(encode_response(signal, PROTOBUF, rejected=3)).partial_success.ListFields()


def test_json_is_read_as_the_specification_writes_it():
    """Ids are hex in either case, 64-bit numbers text or numbers, enums numbers, null is "not set"."""
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "",
        "name": "n", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000,
        "status": {"code": 2}, "kind": 3, "flags": 1, "links": [{}], "events": None,
        "attributes": [
            {"key": "text", "value": {"stringValue": "x"}}, {"key": "int", "value": {"intValue": "12"}},
            {"key": "int2", "value": {"intValue": 12}}, {"key": "float", "value": {"doubleValue": 1.5}},
            {"key": "inf", "value": {"doubleValue": "Infinity"}}, {"key": "bool", "value": {"boolValue": False}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}},
            {"key": "empty", "value": {}}, {"key": "none"},
        ],
    }  # fmt: skip
    (record,) = decode("traces", json.dumps(spans_of(span)).encode(), JSON)
    assert (record.trace, record.span, record.parent) == (
        "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "",
    )  # fmt: skip
    assert (record.start, record.end, record.failed) == (1544712660.0, 1544712661.0, True)
    assert record.attributes == {
        "text": "x", "int": 12, "int2": 12, "float": 1.5, "inf": float("inf"), "bool": False, "list": [1, "a"],
        "map": {"k": 1}, "empty": None,
    }  # fmt: skip


async def test_a_body_over_the_limit_is_refused_packed_or_unpacked(telemetry_to, settings):
    async with make_app(settings(max_body_bytes=100_000)) as app:
        otlp = telemetry_to(app)
        for body, compress in ((b"x" * 100_001, False), (b"x" * 100_001, True), (os.urandom(200_000), True)):
            answer = await otlp.post("traces", body, compress=compress, Content_Type=PROTOBUF)
            assert answer.status == 413
            assert "100,000" in Status.FromString(answer.body).message


async def test_a_gzip_bomb_and_64_mib_cost_no_memory_and_disturb_nothing(otlp, story):
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(256)) + bomb.flush()  # 256 MiB
    await otlp.spans(story.chat(1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await otlp.post("traces", packed, Content_Type=PROTOBUF, Content_Encoding="gzip")
    assert answer.status == 413
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 80 << 10  # KiB: a few times the limit of 16 MiB, not 256 MiB
    large = await otlp.post("traces", bytes(64 << 20), Content_Type=PROTOBUF)
    assert large.status == 413
    assert await otlp.level("c1") == 1000


async def test_a_body_that_ends_early_is_dropped_and_disturbs_nothing(otlp, story):
    host, port = otlp.app.urls["otlp"][0].removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await otlp.spans(story.chat(1000))
    assert await otlp.level("c1") == 1000


async def test_deep_nesting_is_an_error_and_no_crash(otlp):
    deep = b'{"resourceSpans":' + b"[" * 100_000
    assert (await otlp.post("traces", deep, Content_Type=JSON)).status == 400
    value = b'{"arrayValue":{"values":[' * 3000 + b"{}" + b"]}}" * 3000
    span = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":' + value + b"}]}]}]}]}"
    assert (await otlp.post("traces", span, Content_Type=JSON)).status in (200, 400)


async def test_a_flood_is_answered_one_way_or_the_other_and_everything_answered_200_is_there(
    telemetry_to, settings, story
):
    async with make_app(settings(max_waiting=50)) as app:
        otlp = telemetry_to(app)
        payloads = [spans_of(*(story.chat(10, conversation=f"c{n}-{m}") for m in range(20))) for n in range(100)]
        answers = await asyncio.gather(*(otlp.post("traces", payload) for payload in payloads))
        taken = [number for number, answer in enumerate(answers) if answer.status == 200]
        assert {answer.status for answer in answers} <= {200, 429}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status == 429)
        assert taken
        for number in taken:
            assert [await otlp.level(f"c{number}-{m}") for m in range(20)] == [10] * 20


async def test_other_methods_are_not_allowed(otlp):
    async with otlp.http.get(f"{otlp.app.urls['otlp'][0]}/v1/traces") as answer:
        assert answer.status == 405


async def test_the_otlp_listener_has_no_other_api(otlp):
    async with otlp.http.get(f"{otlp.app.urls['otlp'][0]}/v1/sessions") as answer:
        assert answer.status == 404


async def test_what_is_refused_is_counted(otlp):
    await otlp.post("traces", b"{", Content_Type=JSON)
    async with otlp.http.get(f"{otlp.app.urls['telemetry'][0]}/metrics") as answer:
        text = await answer.text()
    assert 'token_budget_events_rejected_total{receiver="otlp",reason="malformed"} 1' in text


async def test_what_is_accepted_is_handed_on_unchanged_and_what_is_not_is_not(otlp, story):
    handed = []
    otlp.app.otlp._forward = lambda *given: handed.append(given)
    body = gzip.compress(json.dumps(spans_of(story.chat(1000))).encode())
    sent = {"Content_Type": "application/json; charset=utf-8", "Content_Encoding": "gzip", "X_Tenant": "a"}
    await otlp.post("traces", body, **sent)
    await otlp.post("logs", b"{", Content_Type=JSON)
    ((signal, given, media, coding, headers),) = handed
    assert (signal, given, media, coding) == ("traces", body, "application/json; charset=utf-8", "gzip")
    assert headers["X-Tenant"] == "a"


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that has a length."""
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (PROTOBUF, field(1, b"") * 10_001),
        (PROTOBUF, field(1, field(2, b"") * 10_000)),
        (JSON, b'{"resourceSpans":[%b{}]}' % (b"{}," * 10_000)),
        (JSON, b'{"other":[%b{}]}' % (b"{}," * 500_000)),
    ],
)
async def test_a_body_of_nothing_but_empty_parts_is_refused_before_it_holds_up_others(otlp, media: str, body: bytes):
    """Packed, millions of them are a few kilobytes."""
    answer = await otlp.post("traces", body, compress=True, Content_Type=media)
    assert answer.status == 413


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("media", [PROTOBUF, JSON])
def test_of_a_record_with_too_many_values_the_first_are_read(media: str, nested: bool):
    count = 30_000
    if media == JSON:
        values = b'{"arrayValue":{"values":[%b{"intValue":1}]}}' % (b'{"intValue":1},' * (count - 1))
        pairs = (
            b'{"key":"all","value":%b}' % values
            if nested
            else b",".join(b'{"key":"%d","value":{"intValue":1}}' % each for each in range(count))
        )
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[%b]}]}]}]}' % pairs
    else:
        one = b"\x18\x01"
        pairs = (
            field(9, field(1, b"all") + field(2, field(5, field(1, one) * count)))
            if nested
            else b"".join(field(9, field(1, b"%d" % each) + field(2, one)) for each in range(count))
        )
        body = field(1, field(2, field(2, pairs)))
    (span,) = decode("traces", body, media)
    assert len(span.attributes["all"] if nested else span.attributes) == 20_000 - nested


@pytest.mark.parametrize(
    "pair",
    [
        field(1, b"gen_ai.tool.name") + field(2, field(1, b"x")),
        field(2, field(1, b"x")) + field(1, b"gen_ai.tool.name"),
        field(1, b"tool.name") + field(1, b"gen_ai.tool.name") + field(2, field(1, b"x")),
        field(1, b"gen_ai.tool.name") + field(2, field(1, b"other")) + field(2, field(1, b"x")),
        field(1, b"gen_ai.tool.name") + field(2, field(1, b"other") + field(1, b"x")),
        field(1, b"gen_ai.tool.name") + field(2, field(1, b"x")) + field(9, b"unknown"),
        b"\x0a\x90\x00gen_ai.tool.name" + field(2, field(1, b"x")),
    ],
)
def test_an_attribute_says_the_same_however_it_is_written_and_how_often(pair):
    """In any order, with a part of it said twice (the last counts), with fields nobody knows, with long lengths."""
    body = field(1, field(2, field(2, field(9, pair) + field(9, field(1, b"http.url") + field(2, field(1, b"u"))))))
    for _ in range(2):
        (span,) = decode("traces", body, PROTOBUF)
        assert span.told == {Meaning.TOOL_NAME: "x"}
        assert dict(span.attributes) == {"gen_ai.tool.name": "x", "http.url": "u"}


def test_of_two_names_for_one_thing_the_current_one_counts_in_either_order():
    old, new = (
        field(9, field(1, name) + field(2, b"\x18" + size))
        for name, size in (
            (b"gen_ai.usage.prompt_tokens", b"\x01"),
            (b"gen_ai.usage.input_tokens", b"\x02"),
        )
    )
    for pairs in (old + new, new + old):
        (span,) = decode("traces", field(1, field(2, field(2, pairs))), PROTOBUF)
        assert span.told == {Meaning.INPUT: 2}


MODEL = field(1, b"gen_ai.request.model")
REST = {
    "a number": b"\x18\x80\x0a",
    "a text that ends early": field(3, b"\n"),
    "a text that is none": field(3, field(1, b"\xff\xfe")),
    "another key behind an empty value": field(2, b"") + field(1, b"model"),
}


@pytest.mark.parametrize("rest", REST.values(), ids=REST.keys())
def test_what_looks_like_a_value_but_stands_in_another_field_is_none(rest):
    """Fields that are not known are not checked either: nothing in them is believed."""
    body = field(1, field(2, field(2, field(9, MODEL + rest))))
    (record,) = decode("traces", body, PROTOBUF)
    assert Meaning.MODEL not in record.told


def test_a_list_that_one_record_had_no_room_for_is_told_of_the_next():
    """What is remembered of an attribute by its bytes is not what a record with too many values left of it."""
    reasons = field(1, b"gen_ai.response.finish_reasons") + field(2, field(5, field(1, field(1, b"early"))))
    crowd = field(1, b"gen_ai.agent.name") + field(2, field(5, field(1, b"") * 20_000))
    crowded, alone = (
        next(decode("traces", field(1, field(2, field(2, attributes))), PROTOBUF)).told
        for attributes in (field(9, crowd) + field(9, reasons), field(9, reasons))
    )
    assert (crowded[Meaning.FINISH], alone[Meaning.FINISH]) == ([], ["early"])
