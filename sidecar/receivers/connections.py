"""What is no HTTP: answered with a problem like everything else, and counted, but not worth a line in the log.

aiohttp would answer with plain text and log each with its traceback, in which the broken line is quoted, even one that
holds a token. So neither the answer nor the log quotes anything.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

from sidecar.ledger import Tally
from sidecar.receivers.problems import MALFORMED, OVERLOADED, Problem

FAILED = 500
IDLE = 75.0  # seconds without a request, or for its headers to come
UNREAD = 30.0  # seconds that answers may be left untaken
# To one connection more than there is room for; before it has asked anything.
_NO_ROOM = msgspec.json.encode(Problem(OVERLOADED, "no more connections are taken (the setting max_connections)").body)
NO_ROOM = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_NO_ROOM), _NO_ROOM)


class _Watched(RequestHandler):
    """A connection that is dropped when its client takes nothing of what is written: else it is held for ever."""

    __slots__ = ("_left", "_looking")

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._left = 0  # bytes that the client had still to take, at the last look
        self._look(cast("asyncio.WriteTransport", transport))

    def _look(self, transport: asyncio.WriteTransport) -> None:
        # Nothing is added then: what does not become less, nobody takes.
        full = self.writing_paused or transport.is_closing()
        left = transport.get_write_buffer_size() if full else 0
        if 0 < self._left <= left:
            transport.abort()
        self._left = left
        self._looking = asyncio.get_running_loop().call_later(UNREAD, self._look, transport)

    @override
    def resume_writing(self) -> None:
        self._left = 0
        super().resume_writing()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)


class Runner(web.AppRunner):
    """Runs an application on at most `most` connections, which answer broken HTTP so.

    `receiver`: the name to count it under. For one connection more, the one that has been idle for longest gives way:
    to hold as many as there may be, saying nothing, would keep everybody out, the kubelet too. Where none is idle, the
    new one is told to come again, and closed.
    """

    __slots__ = ("_most", "_receiver", "_tally")

    def __init__(self, app: web.Application, *, tally: Tally, receiver: str, most: int, **settings: Any) -> None:
        super().__init__(app, keepalive_timeout=IDLE, **settings)
        self._most = most
        self._tally = tally
        self._receiver = receiver

    def malformed(self) -> None:
        """Count a connection that says what nobody here reads."""
        self._tally.rejected(self._receiver, MALFORMED.name)

    @override
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        tally, receiver, most = self._tally, self._receiver, self._most

        class Connection(_Watched):
            """One connection."""

            __slots__ = ()

            @override
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if len(made.connections) <= most or not isinstance(transport, asyncio.WriteTransport):
                    return
                idle = _longest_idle(each for each in made.connections if each is not self)
                if idle is not None:
                    idle.abort()
                    return
                tally.rejected(receiver, OVERLOADED.name)
                transport.write(NO_ROOM)
                transport.close()

            @override
            def handle_error(
                self,
                request: web.BaseRequest,
                status: int = FAILED,
                exc: BaseException | None = None,
                message: str | None = None,
            ) -> web.StreamResponse:
                if status >= FAILED:
                    return super().handle_error(request, status, exc, message)
                if request.writer.output_size > 0:
                    raise ConnectionError("the answer has begun")
                tally.rejected(receiver, MALFORMED.name)
                response = Problem(MALFORMED, _told(message)).response()
                response.force_close()
                return response

        class Server(web.Server):
            """Makes a handler for each connection."""

            @override
            def __call__(self) -> RequestHandler:
                return Connection(self, loop=self._loop, **self._kwargs)

        made.__class__ = Server
        return made


def _longest_idle(connections: Iterable[RequestHandler]) -> asyncio.Transport | None:
    """The connection that has waited longest for a request, or for its headers to come; None where each is at work."""
    idle: list[tuple[float, int, asyncio.Transport]] = []
    for each in connections:
        waiter = getattr(each, "_waiter", None)  # where aiohttp tells otherwise some day, nobody gives way
        if waiter is not None and not waiter.done() and each.transport is not None and not each.transport.is_closing():
            idle.append((getattr(each, "_next_keepalive_close_time", 0.0), len(idle), each.transport))
    return min(idle)[-1] if idle else None


def _told(message: str | None) -> str:
    """What the parser has against it, without the line that it quotes."""
    first = (message or "").strip().partition("\n")[0].partition(" when reading")[0].rstrip(".:")
    return f"this is no HTTP/1.1: {first}" if first else "this is no HTTP/1.1"
