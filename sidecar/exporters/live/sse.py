"""Server-sent events as bytes (HTML standard, section 9.2), and a writer that gives up on who does not read."""

import asyncio

from aiohttp import web

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",  # a proxy in between should pass each event on at once
}
RETRY = 1000  # milliseconds after which a browser connects again
BEAT = b": still here\n\n"


def event(data: bytes, *, name: str = "", id: str = "") -> bytes:
    """One event. `data` has no line breaks; without a `name` it is a plain message."""
    head = f"id: {id}\n" if id else ""
    if name:
        head += f"event: {name}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def place(id: str) -> bytes:
    """Tell where the stream stands without an event, so that whoever comes again goes on from here."""
    return f"id: {id}\n\n".encode()


class Gone(Exception):
    """The client closed the connection, or has not read for too long."""


class EventWriter:
    """Writes to one client. Holds no more than the piece that the client has not taken yet.

    `patience`: how many seconds a client may leave that piece untaken.
    """

    def __init__(self, response: web.StreamResponse, request: web.Request, *, patience: float) -> None:
        self._response = response
        self._request = request
        self._patience = patience

    async def begin(self, id: str) -> None:
        """Send the headers, and where the stream begins. Raises `Gone`."""
        self._response.headers.update(HEADERS)
        try:
            await self._response.prepare(self._request)
        except ConnectionError:
            raise Gone from None
        await self.write(f"retry: {RETRY}\n".encode() + place(id))

    async def write(self, data: bytes) -> None:
        """Write, and wait until there is room for more; others have a turn in any case. Raises `Gone`."""
        try:
            async with asyncio.timeout(self._patience):
                await self._response.write(data)
        except TimeoutError:
            self.abort()
            raise Gone from None
        except ConnectionError:
            raise Gone from None
        await asyncio.sleep(0)

    def abort(self) -> None:
        """Drop the connection where the client does not read what was written."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed already, which the next write will find out."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    @property
    def stuck(self) -> bool:
        """Whether something written waits for the client."""
        transport = self._request.transport
        return isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size() > 0
