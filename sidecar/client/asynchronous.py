"""The asynchronous client: the same courses over asyncio's streams, reused within one event loop."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from sidecar.client.address import Address
from sidecar.client.calls import Call, SessionCalls
from sidecar.client.course import Courses, Openable, Send
from sidecar.client.wire import Answer, Reading

R = TypeVar("R")
CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class _Stream:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    loop: asyncio.AbstractEventLoop

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed, and it with it
            self.writer.close()


class AsyncClient:
    """A connection to a sidecar for asyncio; address and settings as of `Client`."""

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self.address = Address.read(url)
        self.courses = Courses(**settings)
        self._idle: deque[_Stream] = deque()

    def session(self, id: str, **opening: Any) -> "AsyncSession":
        """A session by its id, opened by its first call with `agent`, `parent`, `model`, `total_tokens`, ..."""
        return AsyncSession(self, id, opening)

    async def run(self, session: Openable, call: Call[R]) -> R:
        """Make a call. Raises `Refused`, `Away`."""
        course = self.courses.run(session, call)
        try:
            step = next(course)
            while True:
                try:
                    answer = await self._do(step)
                except Exception as error:  # noqa: BLE001 - the course knows what to make of it
                    step = course.throw(error)
                else:
                    step = course.send(answer)
        except StopIteration as end:
            reply: R = end.value
            return reply

    async def close(self) -> None:
        """Close the connections. What was kept for an absent sidecar is lost."""
        loop = asyncio.get_running_loop()
        while self._idle:
            idle = self._idle.pop()
            idle.close()
            if idle.loop is loop:
                with contextlib.suppress(OSError):
                    await idle.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, step: Any) -> Answer | None:
        if not isinstance(step, Send):
            await asyncio.sleep(step.seconds)
            return None
        data = step.request.encode(self.address.authority)
        left = step.deadline - self.courses.clock()
        async with asyncio.timeout(max(0.0, left)):
            return await self._ask(data)

    async def _ask(self, data: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        while self._idle:  # one that was idle may be closed at the other end: the next, or a new one
            idle = self._idle.pop()
            if idle.loop is not loop:
                idle.close()
            elif (answer := await self._talk(idle, data, reused=True)) is not None:
                return answer
        answer = await self._talk(await self._connect(loop), data)
        assert answer is not None  # noqa: S101 - only reused connections answer None
        return answer

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Stream:
        if self.address.path:
            return _Stream(*await asyncio.open_unix_connection(self.address.path), loop)
        return _Stream(*await asyncio.open_connection(self.address.host, self.address.port), loop)

    async def _talk(self, stream: _Stream, data: bytes, *, reused: bool = False) -> Answer | None:
        """The answer; None where a reused connection turned out to be closed."""
        reading, answer = Reading(), None
        try:
            stream.writer.write(data)
            await stream.writer.drain()
            while answer is None:
                came = await stream.reader.read(CHUNK)
                if not came and reused and not reading.begun:
                    return None
                answer = reading.feed(came)
        except ConnectionError:
            if reused and not reading.begun:
                return None
            raise
        finally:
            if answer is not None and answer.reusable:
                self._idle.append(stream)
            else:
                stream.close()
        return answer


class AsyncSession(SessionCalls):
    """One session, one window; each call is awaited for its reply."""

    def __init__(self, client: AsyncClient, id: str, opening: dict[str, Any]) -> None:
        self.client = client
        self.id = id
        self.opening = {name: value for name, value in opening.items() if value is not None}

    async def run(self, call: Call[R]) -> R:
        """Make a call of this session."""
        return await self.client.run(self, call)
