"""An agent as its users instrument it: the real OpenTelemetry SDK, which exports to the sidecar, and the budget API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "some-model",
    "gen_ai.conversation.id": "conversation",
    "gen_ai.agent.name": "coder",
    "gen_ai.usage.input_tokens": 12_000,
    "gen_ai.usage.output_tokens": 300,
}


class Agent:
    """Speaks OTLP to `otlp` and asks the budget at `api`, each call below the span that is current."""

    def __init__(self, otlp: str, api: str, http: aiohttp.ClientSession) -> None:
        self._provider = TracerProvider(resource=Resource({"service.name": "agent"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{otlp}/v1/traces", headers={"x-api-key": "the agent's own"})
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("agent")
        self._api = api
        self._http = http

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[Span]:
        """A span of the agent's own, current until it ends."""
        with self._tracer.start_as_current_span(name, attributes=attributes or None) as span:
            assert isinstance(span, Span)
            yield span

    async def ask(self, session: str, **asked: Any) -> Any:
        """Ask for tokens, as an instrumented HTTP client does: with the traceparent of the current span."""
        headers: dict[str, str] = {}
        propagate.inject(headers)
        url = f"{self._api}/v1/sessions/{session}/allocations"
        async with self._http.post(url, json=asked, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def flush(self) -> None:
        """Send what was recorded; its exporter blocks."""
        assert await asyncio.to_thread(self._provider.force_flush)

    async def end(self) -> None:
        """No more spans."""
        await asyncio.to_thread(self._provider.shutdown)


@asynccontextmanager
async def running(otlp: str, api: str) -> AsyncIterator[Agent]:
    """An agent that runs."""
    async with aiohttp.ClientSession() as http:
        agent = Agent(otlp, api, http)
        try:
            yield agent
        finally:
            await agent.end()


def ids(span: trace.Span) -> tuple[str, str]:
    """A span's trace and own id, in hex."""
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
