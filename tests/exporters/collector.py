"""A collector in the test's own process: OTLP/HTTP on a real listener. It answers as told and keeps what it got."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Received:
    """One request."""

    path: str
    headers: Any
    body: bytes


@dataclass
class Exported:
    """One span as it arrived."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Collector:
    """`answers`: what the next requests are answered, status and headers; 200 after those. `gate`: shut, it hangs."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, request: web.Request) -> web.Response:
        """Take a request."""
        body = await request.read()
        async with self.arrived:
            self.requests.append(Received(request.path, request.headers, body))
            self.arrived.notify_all()
        await self.gate.wait()
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return web.Response(status=status, headers=headers)

    async def until(self, requests: int) -> list[Received]:
        """Wait for so many requests."""
        async with asyncio.timeout(30), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= requests)
        return self.requests

    async def spans(self, *names: str) -> list[Exported]:
        """Wait until spans of all these names have arrived; then all spans."""
        async with asyncio.timeout(30), self.arrived:
            await self.arrived.wait_for(lambda: set(names) <= {span.name for span in self.exported()})
        return self.exported()

    def exported(self) -> list[Exported]:
        """All spans that have arrived."""
        return [span for request in self.requests if request.path == "/v1/traces" for span in decoded(request)]


def decoded(request: Received) -> Iterator[Exported]:
    """The spans of a request."""
    packed = request.headers.get("Content-Encoding") == "gzip"
    body = gzip.decompress(request.body) if packed else request.body
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Exported(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes={each.key: plain(each.value) for each in span.attributes},
                    resource={each.key: plain(each.value) for each in resource.resource.attributes},
                )


def plain(value: Any) -> Any:
    """An AnyValue as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind)


@asynccontextmanager
async def collecting(*, port: int = 0, hanging: bool = False, tls: Any = None) -> AsyncIterator[Collector]:
    """A collector that listens."""
    collector = Collector()
    if not hanging:
        collector.gate.set()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", collector.receive)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    collector.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        collector.gate.set()
        await runner.cleanup()
