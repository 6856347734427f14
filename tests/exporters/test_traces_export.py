"""Spans on their way to the collector: what the environment says, what is bounded, and what the end may take."""

import asyncio
import gc
import logging
import socket
import time
from collections import Counter

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from sidecar.budget.commands import OpenSession, RequestAllocation
from sidecar.exporters.peers import leads_to
from sidecar.exporters.traces import traces
from sidecar.exporters.traces.environment import Batching, batching, endpoint, kubernetes
from sidecar.exporters.traces.outbox import Outbox
from sidecar.exporters.traces.sink import resource
from sidecar.exporters.traces.trouble import Trouble
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ledger
from sidecar.ledger.trace_context import TraceContext, from_headers, from_ids
from tests.exporters.collector import collecting

BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
ASK = RequestAllocation(component="working_memory", tokens=1)


# What the environment says


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        (BASE, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        (BASE | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/in"}, "http://t/in"),
        (BASE | {"OTEL_SDK_DISABLED": "True"}, None),
        (BASE | {"OTEL_SDK_DISABLED": "no"}, "http://c:4318/v1/traces"),
        (BASE | {"OTEL_TRACES_EXPORTER": "none"}, None),
        (BASE | {"OTEL_TRACES_EXPORTER": "otlp"}, "http://c:4318/v1/traces"),
        (BASE | {"OTEL_TRACES_EXPORTER": "console, otlp"}, "http://c:4318/v1/traces"),
        (BASE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://c:4318/v1/traces"),
        (
            BASE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "http://c:4318/v1/traces",
        ),
    ],
)
def test_the_environment_says_whether_and_where_traces_are_exported(environment, url, caplog):
    assert endpoint(environment) == url
    assert not caplog.records


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER must be otlp or none, not zipkin"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not grpc"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL must be http/protobuf, not http/json",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"}, "must begin with http:// or https://"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:port"}, "must begin with http:// or https://"),
    ],
)
def test_what_makes_no_sense_is_logged_and_exports_nothing(environment, said, caplog):
    assert endpoint(BASE | environment) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert said in record.getMessage()


@pytest.mark.parametrize(
    ("environment", "batches"),
    [
        ({}, Batching(2048, 512, 5000)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, Batching(100, 100, 5000)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9", "OTEL_BSP_SCHEDULE_DELAY": " 20 "}, Batching(2048, 9, 20)),
    ],
)
def test_the_environment_says_how_spans_are_batched(environment, batches, caplog):
    assert batching(environment) == batches
    assert not caplog.records


@pytest.mark.parametrize("told", ["0", "-1", "many", "1.5"])
def test_a_batch_of_no_size_is_logged_and_of_the_usual_size(told, caplog):
    assert batching({"OTEL_BSP_MAX_QUEUE_SIZE": told}) == batching({})
    assert f"OTEL_BSP_MAX_QUEUE_SIZE must be a whole number above 0, not {told}" in caplog.text


def test_without_an_endpoint_there_is_no_sink():
    assert traces({}, dropped=lambda *_: None, clock=time.time) is None


@pytest.mark.parametrize("prefix", ["", "K8S_"])
def test_the_pod_is_known_by_what_the_downward_api_filled_in(prefix):
    environment = {f"{prefix}POD_NAME": "agent-7", f"{prefix}POD_UID": "u", f"{prefix}NODE_NAME": "n"}
    environment["K8S_NAMESPACE_NAME" if prefix else "POD_NAMESPACE"] = "prod"
    assert kubernetes(environment) == {
        "k8s.pod.name": "agent-7",
        "k8s.pod.uid": "u",
        "k8s.node.name": "n",
        "k8s.namespace.name": "prod",
    }
    assert kubernetes({f"{prefix}POD_NAME": ""}) == {}


def test_the_resource_is_the_sidecar_its_pod_and_above_all_what_the_operator_says(monkeypatch):
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    attributes = resource({"POD_NAME": "agent-7"}).attributes
    assert attributes["service.name"] == "token-budget-sidecar"
    assert attributes["k8s.pod.name"] == "agent-7"
    assert attributes["service.version"]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "budget")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=other,team=a")
    attributes = resource({"POD_NAME": "agent-7"}).attributes
    assert (attributes["service.name"], attributes["k8s.pod.name"], attributes["team"]) == ("budget", "other", "a")


# The caller's trace context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KNOWN = TraceContext(int(TRACE, 16), int(SPAN, 16), 1)


@pytest.mark.parametrize(
    ("traceparent", "context"),
    [
        (f"00-{TRACE}-{SPAN}-01", KNOWN),
        (f" 00-{TRACE}-{SPAN}-01\t", KNOWN),
        (f"00-{TRACE}-{SPAN}-00", TraceContext(KNOWN.trace_id, KNOWN.span_id, 0)),
        (f"00-{TRACE}-{SPAN}-ff", TraceContext(KNOWN.trace_id, KNOWN.span_id, 3)),
        (f"cc-{TRACE}-{SPAN}-01", KNOWN),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", KNOWN),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(traceparent, context):
    assert from_headers(traceparent) == context


def test_a_span_known_by_its_ids_is_a_sampled_caller():
    assert from_ids(TRACE, SPAN) == KNOWN
    assert KNOWN.sampled
    for trace, span in (("", ""), (TRACE, ""), (TRACE, "0" * 16), ("x", SPAN), (TRACE * 2, SPAN)):
        assert from_ids(trace, span) is None


# On the way


class House:
    """A ledger that exports its traces to a collector."""

    def __init__(self, sink, ledger, dropped):
        self.sink = sink
        self.ledger = ledger
        self.dropped = dropped

    async def ask(self, times=1, **fields):
        """Allocate a token, so many times."""
        for _ in range(times):
            await self.ledger.handle("s", ASK, **fields)

    async def lost(self, reason, count):
        """Wait until so many spans are counted as lost for this reason."""
        async with asyncio.timeout(30):
            while self.dropped["span", reason] < count:  # noqa: ASYNC110 - counted on another thread's behalf
                await asyncio.sleep(0.01)


@pytest.fixture
async def export(monkeypatch):
    """Exports to a URL, with OTEL_* variables of its own."""
    houses = []
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    async def start(url, listeners=(), **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        dropped: Counter[tuple[str, str]] = Counter()
        made = traces(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **environment},
            dropped=lambda what, why, count: dropped.update({(what, why): count}),
            clock=time.time,
        )
        assert made is not None
        await made.start(listeners)
        ledger = Ledger(MemoryJournal(), sinks=(made,))
        await ledger.start()
        await ledger.handle("s", OpenSession())
        houses.append(House(made, ledger, dropped))
        return houses[-1]

    yield start
    for house in houses:
        await house.ledger.stop()
        await house.sink.stop(patience=5)


async def test_spans_arrive_with_the_operators_headers_and_compression(export):
    async with collecting() as collector:
        house = await export(
            collector.url, OTEL_EXPORTER_OTLP_HEADERS="api-key=secret%21", OTEL_EXPORTER_OTLP_COMPRESSION="gzip"
        )
        await house.ask()
        (span,) = await collector.spans("token_budget.allocate")
        (request,) = collector.requests
        assert (request.path, request.headers["api-key"]) == ("/v1/traces", "secret!")
        assert request.headers["Content-Encoding"] == "gzip"
        assert span.resource["service.name"] == "token-budget-sidecar"
        assert not house.dropped


@pytest.mark.parametrize(("sampler", "kept"), [("always_on", 3), ("parentbased_always_off", 0)])
async def test_the_operators_sampler_is_read_from_the_environment(export, sampler, kept):
    async with collecting() as collector:
        house = await export(collector.url, OTEL_TRACES_SAMPLER=sampler)
        await house.ask(3)
        await house.sink.stop()
        assert len(collector.exported()) == kept


async def test_what_waits_at_the_end_arrives(export):
    async with collecting() as collector:
        house = await export(collector.url, OTEL_BSP_SCHEDULE_DELAY="60000")
        await house.ask(20)
        await house.sink.stop()
        assert len(collector.exported()) == 20
        await house.ask()
        assert len(collector.exported()) == 20, "nothing is traced after the end"
        assert not house.dropped


async def test_spans_that_a_collector_refuses_are_counted(export):
    async with collecting() as collector:
        collector.answers = [(400, {})] * 10
        house = await export(collector.url)
        await house.ask(3)
        await house.lost("failed", 3)
        assert house.dropped == {("span", "failed"): 3}


async def test_the_log_says_once_that_a_collector_takes_nothing_and_once_that_it_does_again(export, caplog):
    """However many exports fail, and without what may be secret in its URL."""
    caplog.set_level(logging.INFO)
    async with collecting() as collector:
        collector.answers = [(400, {})] * 3
        house = await export(
            f"{collector.url}/?key=planted", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/in?key=planted"
        )
        for lost in (1, 2, 3):
            await house.ask()
            await house.lost("failed", lost)
        await house.ask()
        await collector.until(4)
        await house.sink.stop()
    _, begun, over = [record for record in caplog.records if "export" in record.getMessage()]
    assert begun.levelname == "WARNING"
    assert begun.getMessage().startswith(f"traces cannot be exported to {collector.url}/in: ")
    assert "400" in begun.getMessage()
    assert over.getMessage() == f"traces are exported to {collector.url}/in again; 3 spans were lost"
    assert "planted" not in caplog.text


async def test_the_log_says_what_was_lost_to_a_collector_that_never_came_back(export, unused_tcp_port, caplog):
    url = f"http://127.0.0.1:{unused_tcp_port}/in"
    more = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}?key=planted", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}
    house = await export(url, **more)
    for lost in (1, 2):
        await house.ask()
        await house.lost("failed", lost)
    await house.sink.stop()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2
    assert said[0].startswith(f"traces cannot be exported to {url}: ")
    assert said[1].endswith("; 2 spans were lost")
    assert "planted" not in caplog.text


async def test_waiting_spans_are_bounded_and_each_that_is_lost_is_counted(export):
    async with collecting(hanging=True) as collector:
        house = await export(
            collector.url,
            OTEL_BSP_MAX_QUEUE_SIZE="10",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5",
            OTEL_EXPORTER_OTLP_TIMEOUT="20",
        )
        await house.ask(5)
        await collector.until(1)  # one batch is under way
        await house.ask(13)
        assert house.dropped == {("span", "queue_full"): 3}
        collector.gate.set()
        await house.sink.stop(patience=20)
        assert len(collector.exported()) == 15


async def test_a_collector_that_hangs_delays_nobody_and_the_end_no_longer_than_allowed(export):
    async with collecting(hanging=True) as collector:
        house = await export(collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="6")
        await house.ask()
        await collector.until(1)
        begun = time.monotonic()
        await house.ask(100)
        assert time.monotonic() - begun < 1
        begun = time.monotonic()
        await house.sink.stop(patience=0.5)
        assert time.monotonic() - begun < 1.5
        assert house.dropped == {("span", "shutdown"): 101}


async def test_it_never_exports_to_itself(export, caplog):
    house = await export("http://localhost:4318", listeners=[("127.0.0.1", 8321), ("127.0.0.1", 4318)])
    await house.ask()
    assert "http://localhost:4318/v1/traces is this sidecar itself" in caplog.text
    assert house.sink.exemplar(None) is None


# Who is ourselves


@pytest.mark.parametrize(
    ("url", "listeners", "ours"),
    [
        ("http://127.0.0.1:4318/v1/traces", [("127.0.0.1", 4318)], True),
        ("http://localhost:4318", [("127.0.0.1", 4318)], True),
        ("http://127.0.0.1:4318", [("localhost", 4318)], True),
        ("http://127.0.0.1:4318", [("0.0.0.0", 4318)], True),  # noqa: S104 - compared, not bound
        ("http://[::1]:4318", [("::", 4318)], socket.has_ipv6),
        ("http://127.0.0.1", [("127.0.0.1", 80)], True),
        ("https://127.0.0.1", [("127.0.0.1", 443)], True),
        ("http://127.0.0.1:4317", [("127.0.0.1", 4318)], False),
        ("http://127.0.0.2:4318", [("127.0.0.1", 4318)], False),
        ("http://192.0.2.1:4318", [("0.0.0.0", 4318)], False),  # noqa: S104 - as above
        ("http://no-such-host.invalid:4318", [("127.0.0.1", 4318)], False),
        ("http://127.0.0.1:4318", [], False),
    ],
)
async def test_an_endpoint_is_ours_if_it_leads_to_a_listener_of_ours(url, listeners, ours):
    assert await leads_to(url, listeners) is ours


async def test_a_failed_export_leaves_nothing_in_memory(unused_tcp_port, caplog):
    lost: Counter[str] = Counter()
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")  # else pytest itself keeps the error
    gc.collect()
    before = {id(one) for one in gc.get_objects() if type(one) is ReadableSpan}
    gc.disable()  # as good as while serving, where it looks seldom
    try:
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{unused_tcp_port}/v1/traces", timeout=0.2)
        trouble = Trouble("http://127.0.0.1")
        outbox = Outbox(exporter, lambda why, count: lost.update({why: count}), batching({}), trouble=trouble)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(outbox)
        for _ in range(50):
            provider.get_tracer("test").start_span("a").end()
        await outbox.close(10.0)
        await asyncio.sleep(0)
        assert lost == {"failed": 50}
        assert not [one for one in gc.get_objects() if type(one) is ReadableSpan and id(one) not in before]
    finally:
        gc.enable()
