"""OTLP traces, forwarded to another server as they came in, against a handler that decodes the protobuf alone."""

import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.server import ROOT, Server, bare, sidecar

NAME = "OTLP traces"
SPANS = 200  # in a payload, as a batching exporter sends them at most (512)
CONVERSATIONS = 4
RECORDED = [file.read_bytes() for file in sorted((ROOT / "tests/receivers/otlp/payloads").glob("*.traces.*.pb"))]


@dataclass(frozen=True, slots=True)
class Payload:
    """A body, and how many spans it has."""

    body: bytes
    spans: int


Make: TypeAlias = Callable[[int], Payload]


def measure(effort: float) -> Iterator[Figure]:
    """Each kind of payload to both in turn: spans a second, and processor time for each."""
    with tempfile.TemporaryDirectory() as folder, bare() as behind, bare() as theirs:
        forward = ("--otlp", "127.0.0.1:0", "--downstream", behind.urls["api"])
        with sidecar(Path(folder), *forward) as ours:
            for kind, make in KINDS.items():
                yield from _measure(kind, make, ours, theirs, effort)


def _measure(
    kind: str, make: Callable[[int], Payload], ours: Server, theirs: Server, effort: float
) -> Iterator[Figure]:
    rounds = max(3, int(6 * effort))
    # Decoding alone is so quick that the clock of its processor time sees nothing of fewer payloads.
    payloads = {ours.pid: max(10, round(30 * effort)), theirs.pid: max(100, round(300 * effort))}
    work: dict[int, list[float]] = {ours.pid: [], theirs.pid: []}
    run = iter(range(1_000_000))

    def once(server: Server) -> float:
        made = [make(next(run)) for _ in range(payloads[server.pid])]
        spans = sum(each.spans for each in made)
        before, begun = server.worked(), perf_counter()
        send(server, [each.body for each in made])
        took = perf_counter() - begun
        work[server.pid].append((server.worked() - before) / spans)
        return spans / took

    once(ours), once(theirs)  # warm
    for kept in work.values():
        kept.clear()
    ratio, mine, others = pairs(lambda: once(ours), lambda: once(theirs), rounds)
    ours_work, theirs_work = (statistics.median(kept) for kept in work.values())
    yield Figure(name=f"{kind}: sidecar, forwarding", value=statistics.median(mine), unit="spans/s")
    yield Figure(name=f"{kind}: decoding the protobuf alone", value=statistics.median(others), unit="spans/s")
    yield Figure(name=f"{kind}: ratio of spans/s", value=ratio, at_least=0.4)
    yield Figure(name=f"{kind}: sidecar, processor time", value=ours_work * 1e6, unit="us/span")
    yield Figure(name=f"{kind}: decoding alone, processor time", value=theirs_work * 1e6, unit="us/span")
    yield Figure(name=f"{kind}: ratio of processor time", value=theirs_work / ours_work, at_least=0.4)


def send(server: Server, bodies: Sequence[bytes]) -> None:
    """One payload after the other, as an exporter does."""
    url = server.urls.get("otlp", server.urls["api"]) + "/v1/traces"
    for body in bodies:
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/x-protobuf"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def agent(number: int) -> Payload:
    """Spans of a running agent: a model call in five, tools in between. Every id is new, and no content is in them."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _say(
        resource.resource.attributes,
        {"service.name": "bench", "service.version": "1", "telemetry.sdk.language": "python"},
    )
    scope = resource.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.bench"
    now = time.time_ns()
    for place in range(SPANS):
        span = scope.spans.add()
        unique = number * SPANS + place
        span.trace_id = (unique // 5 + 1).to_bytes(16, "big")
        span.span_id = (unique + 1).to_bytes(8, "big")
        span.start_time_unix_nano = now + place * 1000
        span.end_time_unix_nano = now + place * 1000 + 900
        conversation = f"bench-{place // 5 % CONVERSATIONS}"
        if place % 5:
            span.name = "execute_tool read_file"
            said = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "read_file",
                "gen_ai.tool.type": "function",
            }
            _say(
                span.attributes,
                said | {"gen_ai.tool.call.id": f"call-{unique}", "gen_ai.conversation.id": conversation},
            )
        else:
            span.name = "chat gpt-4o"
            said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
            counts = {"gen_ai.usage.input_tokens": 9_000 + place * 20, "gen_ai.usage.output_tokens": 300}
            ids = {"gen_ai.response.id": f"response-{unique}", "gen_ai.conversation.id": conversation}
            _say(span.attributes, said | counts | ids | {"gen_ai.agent.name": "bench", "server.address": "api.example"})
    return Payload(request.SerializeToString(), SPANS)


def recorded(number: int) -> Payload:
    """All spans that real emitters were recorded with, sent together; their ids, times and conversations are new."""
    request = ExportTraceServiceRequest()
    for file in RECORDED:
        request.MergeFromString(file)
    spans = [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]
    first = min(span.start_time_unix_nano for span in spans)
    later = time.time_ns() - first - 10**9 * 10
    for span in spans:
        span.trace_id = number.to_bytes(4, "big") + span.trace_id[4:]
        span.start_time_unix_nano += later
        span.end_time_unix_nano += later
        for pair in span.attributes:
            if pair.key == "gen_ai.conversation.id":
                pair.value.string_value += f"-{number % CONVERSATIONS}"
    return Payload(request.SerializeToString(), len(spans))


def clients(number: int) -> Payload:
    """Spans of HTTP and database clients, which are most of a service's traces and say nothing of a window."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.httpx"
    now = time.time_ns()
    for place in range(SPANS):
        unique = number * SPANS + place
        span = scope.spans.add(name="GET", start_time_unix_nano=now, end_time_unix_nano=now + 10**6)
        span.trace_id = (unique // 10 + 1).to_bytes(16, "big")
        span.span_id, span.parent_span_id = (unique + 1).to_bytes(8, "big"), (unique // 10 + 1).to_bytes(8, "big")
        said: dict[str, str | int]
        if place % 2:
            said = {"db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "SELECT"}
            said |= {"db.collection.name": "orders", "db.response.returned_rows": unique, "server.port": 5432}
        else:
            said = {"http.request.method": "GET", "http.response.status_code": 200, "server.address": "api.example"}
            said |= {"url.full": f"https://api.example/orders/{unique}", "network.protocol.version": "1.1"}
        _say(span.attributes, said)
    return Payload(request.SerializeToString(), SPANS)


KINDS: Mapping[str, Make] = {
    "an agent": agent,
    "recorded spans": recorded,
    "other spans": clients,
}


def _say(attributes: "object", said: Mapping[str, str | int]) -> None:
    for key, value in said.items():
        attribute = attributes.add(key=key)  # type: ignore[attr-defined]
        if isinstance(value, int):
            attribute.value.int_value = value
        else:
            attribute.value.string_value = value
