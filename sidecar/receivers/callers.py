"""Who calls: the trace context of a request, so that what it causes can be shown in the caller's own trace."""

from aiohttp import web

from sidecar.ledger import Origin
from sidecar.ledger.trace_context import from_headers


def traced(origin: Origin, request: web.Request) -> Origin:
    """The origin with the caller's trace context (W3C), where the request carries one."""
    traceparent = request.headers.get("traceparent")
    if traceparent is None:
        return origin
    context = from_headers(traceparent, ",".join(request.headers.getall("tracestate", ())))
    return origin if context is None else Origin(receiver=origin.receiver, context=context)
