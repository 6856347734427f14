"""What the sidecar is held against: an aiohttp handler that validates the same bodies, and answers the same JSON.

It runs on the same event loop as the sidecar, and keeps nothing, decides nothing, counts nothing.
"""

import asyncio
from typing import Annotated, Any

import msgspec
import uvloop
from aiohttp import web
from pydantic import TypeAdapter

from sidecar.budget.commands import RequestAllocation
from sidecar.receivers.events import event_type

REQUEST = TypeAdapter(RequestAllocation).validator.validate_json
EVENTS: Any = TypeAdapter(Annotated[list[event_type()], "events"]).validator.validate_json  # type: ignore[arg-type, misc]
ENCODE = msgspec.json.Encoder().encode


async def allocate(request: web.Request) -> web.Response:
    """The answer of an allocation that fits."""
    command = REQUEST(await request.read())
    body = {
        "component": command.component,
        "requested": command.tokens,
        "granted": command.tokens,
        "outcome": "full",
        "available_tokens": 299_999_999_999,
        "cleanup": None,
        "directives": [],
    }
    return web.Response(body=ENCODE(body), content_type="application/json")


async def take(request: web.Request) -> web.Response:
    """The answer to a batch of good events."""
    events = EVENTS(await request.read())
    body = {"accepted": len(events), "duplicates": 0, "rejected": 0, "errors": [], "results": []}
    return web.Response(body=ENCODE(body), content_type="application/json")


async def decode(request: web.Request) -> web.Response:
    """The answer to a payload of spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )  # else idle is larger

    payload = ExportTraceServiceRequest.FromString(await request.read())
    assert payload.resource_spans
    return web.Response(body=b"", content_type="application/x-protobuf")


async def serve() -> None:
    """Serve until the process is ended."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/sessions/{session}/allocations", allocate)
    app.router.add_post("/v1/events", take)
    app.router.add_post("/v1/traces", decode)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"api http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve())
