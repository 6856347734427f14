"""The asynchronous client's sockets, plain or with TLS. They belong to no event loop: each call takes what runs."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
CHUNK = 256 << 10


class Pipe(Protocol):
    """Bytes to the sidecar and back."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        ...

    async def receive(self) -> bytes:
        """What came; nothing at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Plain:
    """A socket as it is."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        """What came; nothing at the end."""
        return await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class Tls:
    """TLS over a plain pipe; shake hands first."""

    def __init__(self, plain: Plain, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    async def shake_hands(self) -> None:
        """Agree on keys. Raises `OSError` where the other end is not trusted."""
        await self._do(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        while data:
            sent = await self._do(lambda data=data: self._tls.write(data))  # type: ignore[misc]
            data = data[sent:]

    async def receive(self) -> bytes:
        """What came; nothing at the end."""
        try:
            return await self._do(lambda: self._tls.read(CHUNK))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def close(self) -> None:
        """Close it."""
        self._plain.close()

    async def _do(self, act: Callable[[], T]) -> T:
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                await self._flush()
                came = await self._plain.receive()
                if came:
                    self._in.write(came)
                else:
                    self._in.write_eof()
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if self._out.pending:
            await self._plain.send(self._out.read())
