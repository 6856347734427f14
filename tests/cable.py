"""A cable to PostgreSQL that can be cut at a chosen message, and held: what a network does to a commit."""

import asyncio
import struct
from typing import Literal
from urllib.parse import urlsplit


class Cable:
    """Lies between a sidecar and its database; `url` is where it begins.

    Messages are those of the client, after it has said who it is. Once cut, new connections work again.
    """

    def __init__(self, url: str) -> None:
        self._far = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._left: int | None = None
        self._when: Literal["before", "after"] = "before"
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.cuts = 0
        self.held = 0  # messages
        self.greeting = b""  # what the last client said of itself
        self.url = ""

    async def lay(self) -> None:
        """Let clients come."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        place = f"{self._far.username}@127.0.0.1:{port}"
        self.url = self._far._replace(netloc=place, query="sslmode=disable").geturl()

    async def remove(self) -> None:
        """Cut it for good."""
        self._server.close()
        self.cut()
        self._flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut it now: every connection breaks."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    def cut_at(self, messages: int, when: Literal["before", "after"]) -> None:
        """Cut it when so many more messages were sent: before the next is, or after it is, and its answer is lost."""
        self._left, self._when = messages, when

    def hold(self) -> None:
        """Let nothing through, in either direction, and break nothing: the other end is there and says nothing."""
        self._flowing.clear()

    def let_go(self) -> None:
        """Let everything through again, what was held first."""
        self._left = None
        self._flowing.set()

    async def _connect(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(self._far.hostname, self._far.port)
        ends = {to_near, to_far}
        self._open |= ends
        lost = asyncio.Event()  # from now on answers do not arrive
        tasks = [
            asyncio.ensure_future(self._messages(near, to_far, lost)),
            asyncio.ensure_future(self._answers(far, to_near, lost)),
        ]
        self._tasks |= set(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        self._open -= ends
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _messages(self, near: asyncio.StreamReader, to_far: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        (size,) = struct.unpack("!i", first := await near.readexactly(4))
        self.greeting = await near.readexactly(size - 4)
        to_far.write(first + self.greeting)
        while True:
            _, size = struct.unpack("!ci", head := await near.readexactly(5))
            message = head + await near.readexactly(size - 4)
            self.held += not self._flowing.is_set()
            await self._flowing.wait()
            if self._left == 0:
                self._left = None
                if self._when == "after":
                    lost.set()
                    to_far.write(message)
                    # What hangs on this message is done when the server asks for more; or it waits for the next one.
                    await asyncio.sleep(0.05)
                self.cut()
                return
            if self._left is not None:
                self._left -= 1
            to_far.write(message)

    async def _answers(self, far: asyncio.StreamReader, to_near: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await far.read(65_536):
            await self._flowing.wait()
            if not lost.is_set():
                to_near.write(data)
