"""What is asked for here and answered elsewhere: metrics and health have a port of their own."""

from collections.abc import Callable, Iterable, Sequence

from aiohttp import web

from sidecar.budget.errors import NotFound

PATHS = ("/metrics", "/healthz", "/readyz", "/startupz")


def routes(telemetry: Callable[[], Sequence[str]]) -> Iterable[web.RouteDef]:
    """A 404 for each that says where it is. `telemetry`: the URLs of that port."""

    async def elsewhere(request: web.Request) -> web.Response:
        places = " or ".join(f"{url}{request.path}" for url in telemetry())
        raise NotFound(f"nothing answers at {request.path} here; the telemetry port has it: {places}")

    return [web.get(path, elsewhere) for path in PATHS]
