"""The short way to a session's writes: past aiohttp's router, to the same handlers through the same middlewares.

The router tries patterns in turn, and freezes and unfreezes what it found; for an allocation that is a fourteenth of
all that it costs (tests/benchmarks). A path that is plainly `/v1/sessions/<name>/<call>` needs none of it. Whatever is
less plain (percent-encoded, with a query, unknown, with `Expect`) goes the long way. The same few sessions are asked
again and again, so the way that was found is remembered.
"""

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Protocol, TypeAlias, cast

from aiohttp import web
from aiohttp.hdrs import EXPECT
from aiohttp.typedefs import Handler

Call: TypeAlias = tuple[str, str]  # method, and the path below the session


class Taker(Protocol):
    """Answers a write to a session."""

    async def __call__(self, request: web.Request, session: str) -> web.StreamResponse:
        """Read the request's body, and do what it says."""
        ...


_REMEMBERED = 256  # ways, of at most 8 kB each

# A name of these characters is one (SPEC 4), and is in the path as it is.
_PLAIN = re.compile(r"/v1/sessions/([A-Za-z0-9][\w.~-]{0,255})/([a-z/]+)", re.ASCII).fullmatch


def take_short_way(runner: web.AppRunner, takers: Mapping[Call, Taker]) -> None:
    """Let a runner that is set up answer these calls without its router."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    long_way = cast("Handler", server.request_handler)
    middlewares = tuple(reversed(runner.app.middlewares))

    @lru_cache(maxsize=_REMEMBERED)
    def answering(method: str, path: str) -> Handler | None:
        """What answers such a request; None: the long way."""
        plain = _PLAIN(path)
        take = None if plain is None else takers.get((method, plain[2]))
        if plain is None or take is None:
            return None
        handler: Handler = partial(take, session=plain[1])
        for middleware in middlewares:
            handler = partial(middleware, handler=handler)
        return handler

    async def handle(request: web.Request) -> web.StreamResponse:
        handler = answering(request.method, request.raw_path)
        if handler is None or EXPECT in request.headers:
            handler = long_way
        return await handler(request)

    server.request_handler = cast("Any", handle)
