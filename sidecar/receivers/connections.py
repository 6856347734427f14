"""What is no HTTP: answered with a problem like everything else, and counted, but not worth a line in the log.

aiohttp would answer with plain text and log each with its traceback, in which the broken line is quoted, even one that
holds a token. So neither the answer nor the log quotes anything.
"""

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

from sidecar.ledger import Tally
from sidecar.receivers.problems import MALFORMED, Problem

BAD_REQUEST, FAILED = 400, 500


class Runner(web.AppRunner):
    """Runs an application on connections that answer broken HTTP so. `receiver`: the name to count it under."""

    __slots__ = ("_receiver", "_tally")

    def __init__(self, app: web.Application, *, tally: Tally, receiver: str, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._tally = tally
        self._receiver = receiver

    @override
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        tally, receiver = self._tally, self._receiver

        class Connection(RequestHandler):
            """One connection."""

            __slots__ = ()

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


def _told(message: str | None) -> str:
    """What the parser has against it, without the line that it quotes."""
    first = (message or "").strip().partition("\n")[0].partition(" when reading")[0].rstrip(".:")
    return f"this is no HTTP/1.1: {first}" if first else "this is no HTTP/1.1"
