"""Connections that are to speak TLS, until they do: bounded in number and in time.

A server counts a connection once its handshake has ended, and until then nobody would: who connects and says nothing
could hold as many as there are file descriptors. So they are taken here one by one. TLS, which is what costs memory,
begins with the client's first byte; what takes too long is closed, and beyond a number the oldest gives way to the
newest: a handshake that is meant takes milliseconds. Who speaks plain HTTP is told that TLS is spoken here.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import TypeAlias, cast

import msgspec
from aiohttp import web
from typing_extensions import override

from sidecar.receivers.problems import MALFORMED, Problem

_log = logging.getLogger(__name__)

MOST = 128  # handshakes of a listener at a time
PATIENCE = 10.0  # seconds that a handshake may take, the wait for its first byte included
TOLD_EVERY = 60.0  # seconds between two lines of the log about plain HTTP
_BACKLOG = 128
_FULL_PAUSE = 1.0  # seconds without a descriptor to take a connection with, until that is tried again
_TLS = b"\x16"  # how a handshake begins (RFC 8446, section 5.1)
_PIECE, _PIECES = 65_536, 16  # of what plain HTTP sends before it reads its answer
_IS_TLS = msgspec.json.encode(Problem(MALFORMED, "TLS is spoken here: the URL begins with https://").body)
PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_IS_TLS), _IS_TLS)


Told: TypeAlias = Callable[[], None]


def _nobody() -> None:
    """Nobody is told."""


class TlsSite(web.BaseSite):
    """Where TLS is listened for, on all addresses of a host. `told` is called for each one that speaks plain HTTP."""

    __slots__ = ("_host", "_port", "_tls", "_told")

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._host, self._port, self._tls, self._told = host, port, tls, told

    @property
    @override
    def name(self) -> str:
        return f"https://{self._host}:{self._port}"

    @override
    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner has not been set up")
        listeners = await _listeners(self._host, self._port)
        # Of a server, a site closes it, and its runner asks for its sockets.
        self._server = cast("asyncio.AbstractServer", _Door(listeners, server, self._tls, self._told))


async def _listeners(host: str, port: int) -> list[socket.socket]:
    """A socket that listens, for each address of the host. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listeners.append(socket.create_server(address, family=family, backlog=_BACKLOG))
            listeners[-1].setblocking(False)
    except BaseException:
        for each in listeners:
            each.close()
        raise
    return listeners


class _Door:
    """Takes connections, and hands them to `server` when their handshake has ended."""

    def __init__(self, listeners: list[socket.socket], server: web.Server, tls: ssl.SSLContext, told: Told) -> None:
        self.sockets = listeners
        self._server, self._tls, self._told = server, tls, told
        self._pending: dict[asyncio.Task[None], socket.socket] = {}  # the oldest first
        self._ours: set[socket.socket] = set()  # of those, what no transport has been made of
        self._accepting = [asyncio.create_task(self._accept(each)) for each in listeners]
        self._plain = 0  # connections that spoke plain HTTP since that was last told
        self._quiet_until = 0.0

    def close(self) -> None:
        """Take no more, and leave those that wait."""
        for task in (*self._accepting, *self._pending):
            task.cancel()
        for each in self.sockets:
            each.close()
        self.sockets = []

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # it was given up before it was taken
            except OSError as error:  # no descriptor is left, most likely
                _log.warning("no connection can be taken: %s", error)
                self._make_room(0)
                await asyncio.sleep(_FULL_PAUSE)
                continue
            connection.setblocking(False)
            self._make_room(MOST - 1)
            task = loop.create_task(self._welcome(connection))
            self._pending[task] = connection
            self._ours.add(connection)
            task.add_done_callback(self._ended)
            await asyncio.sleep(0)  # where many come at once, others have their turn

    def _make_room(self, most: int) -> None:
        """Let the oldest go where more than so many wait."""
        if len(self._pending) > most:
            next((task for task in self._pending if not task.cancelling()), next(iter(self._pending))).cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        connection = self._pending.pop(task)
        if connection in self._ours:
            self._ours.remove(connection)
            connection.close()
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OSError):
            _log.error("a connection could not be taken", exc_info=error)

    async def _welcome(self, connection: socket.socket) -> None:
        """Shake hands, or answer plain HTTP. What fails here is the client's own business."""
        async with asyncio.timeout(PATIENCE):
            first = await _first_byte(connection)
            if first == _TLS:
                self._ours.remove(connection)  # whatever comes of it now, its transport closes it
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._server, connection, ssl=self._tls, ssl_handshake_timeout=PATIENCE
                )
            elif first.isalpha():
                self._tell(connection)
                await _answer_plainly(connection)

    def _tell(self, connection: socket.socket) -> None:
        self._told()
        self._plain += 1
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            return
        peer, own = connection.getpeername()[0], connection.getsockname()[1]
        more = f", as {self._plain - 1:,} before it" if self._plain > 1 else ""
        _log.warning(
            "plain HTTP came from %s to port %d, where TLS is spoken%s: its URL wants https://", peer, own, more
        )
        self._plain, self._quiet_until = 0, now + TOLD_EVERY


async def _first_byte(connection: socket.socket) -> bytes:
    """What the connection begins with, left where it is; empty where it has ended."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


async def _answer_plainly(connection: socket.socket) -> None:
    """Answer 400, and let the client read it: to close on what it still sends would take it away."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, PLAIN_HTTP)
    connection.shutdown(socket.SHUT_WR)
    for _ in range(_PIECES):
        if not await loop.sock_recv(connection, _PIECE):
            return
