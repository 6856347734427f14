"""The telemetry listener: health for the kubelet, `/metrics` for Prometheus, and no API (SPEC section 4).

Healthy is who answers, started who has opened its listeners, ready who is not stopping. A journal or collector that
does not work fails none of them: the agent's pod would go with it. It is a metric and an alert instead.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware


class Life(Protocol):
    """What the listener asks about the sidecar."""

    @property
    def started(self) -> bool:
        """Whether it has begun to serve."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it serves, and goes on to."""
        ...


def telemetry_app(
    render: Callable[[str], Awaitable[tuple[bytes, str]]], life: Life, *, asking: Sequence[Middleware] = ()
) -> web.Application:
    """The application of the listener. `render` gives the metrics for an `Accept` header, and their content type.

    `asking`: what decides who may scrape.
    """

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = await render(request.headers.get("Accept", ""))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.enable_compression(
                web.ContentCoding.gzip
            )  # what Prometheus asks for; aiohttp would like deflate better
        return response

    async def healthz(_: web.Request) -> web.Response:
        return _health(True)

    async def readyz(_: web.Request) -> web.Response:
        return _health(life.ready)

    async def startupz(_: web.Request) -> web.Response:
        return _health(life.started)

    app = web.Application(middlewares=asking)
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/startupz", startupz),
        ]
    )
    return app


def _health(good: bool) -> web.Response:
    return web.Response(text="ok\n" if good else "not yet, or no more\n", status=200 if good else 503)
