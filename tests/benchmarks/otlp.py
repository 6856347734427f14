"""OTLP traces, forwarded to another server as they came in, against a handler that decodes the protobuf alone."""

import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.server import Server, bare, sidecar

NAME = "OTLP traces"
SPANS = 200  # in a payload, as a batching exporter sends them at most (512)
CONVERSATIONS = 4


def measure(effort: float) -> Iterator[Figure]:
    """The same payloads to both in turn: spans a second, and processor time for each."""
    payloads, rounds = max(5, round(30 * effort)), max(3, int(6 * effort))
    with tempfile.TemporaryDirectory() as folder, bare() as behind, bare() as theirs:
        forward = ("--otlp", "127.0.0.1:0", "--downstream", behind.urls["api"])
        with sidecar(Path(folder), *forward) as ours:
            work: dict[int, list[float]] = {ours.pid: [], theirs.pid: []}
            run = iter(range(1_000_000))

            def once(server: Server) -> float:
                bodies = [payload(next(run)) for _ in range(payloads)]
                before, begun = server.worked(), perf_counter()
                send(server, bodies)
                took = perf_counter() - begun
                work[server.pid].append((server.worked() - before) / (payloads * SPANS))
                return payloads * SPANS / took

            once(ours), once(theirs)  # warm
            for kept in work.values():
                kept.clear()
            ratio, mine, others = pairs(lambda: once(ours), lambda: once(theirs), rounds)
    ours_work, theirs_work = (statistics.median(kept) for kept in work.values())
    yield Figure(name="sidecar, forwarding", value=statistics.median(mine), unit="spans/s")
    yield Figure(name="decoding the protobuf alone", value=statistics.median(others), unit="spans/s")
    yield Figure(name="ratio of spans/s", value=ratio, at_least=0.4)
    yield Figure(name="sidecar, processor time", value=ours_work * 1e6, unit="us/span")
    yield Figure(name="decoding alone, processor time", value=theirs_work * 1e6, unit="us/span")
    yield Figure(name="ratio of processor time", value=theirs_work / ours_work, at_least=0.4)


def send(server: Server, bodies: Sequence[bytes]) -> None:
    """One payload after the other, as an exporter does."""
    url = server.urls.get("otlp", server.urls["api"]) + "/v1/traces"
    for body in bodies:
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/x-protobuf"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def payload(number: int) -> bytes:
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
    return request.SerializeToString()


def _say(attributes: "object", said: Mapping[str, str | int]) -> None:
    for key, value in said.items():
        attribute = attributes.add(key=key)  # type: ignore[attr-defined]
        if isinstance(value, int):
            attribute.value.int_value = value
        else:
            attribute.value.string_value = value
