"""The asynchronous client: the same courses over plain sockets that asyncio waits for.

A socket belongs to no event loop, so a client may outlive the loop that it was first used in.
"""

import asyncio
import socket
import weakref
from collections import deque
from typing import Any, Self, TypeVar

from sidecar.client.address import Address
from sidecar.client.blocking import close_all
from sidecar.client.calls import Call, SessionCalls
from sidecar.client.course import Courses, Openable, Send
from sidecar.client.credentials import VARIABLES, Credentials
from sidecar.client.errors import Away
from sidecar.client.pipes import Pipe, Plain, Tls
from sidecar.client.wire import Answer, Reading

R = TypeVar("R")


class AsyncClient:
    """A connection to a sidecar for asyncio; address and settings as of `Client`."""

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self.address = Address.read(url)
        files = {name: settings.pop(name) for name in VARIABLES if name in settings}
        self.credentials = Credentials(**files)
        self.courses = Courses(**settings)
        self._idle: deque[Pipe] = deque()
        weakref.finalize(self, close_all, self._idle)

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
        close_all(self._idle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, step: Any) -> Answer | None:
        if not isinstance(step, Send):
            await asyncio.sleep(step.seconds)
            return None
        data = step.request.encode(self.address.authority, self.credentials.headers())
        left = step.deadline - self.courses.clock()
        async with asyncio.timeout(max(0.0, left)):
            return await self._ask(data)

    async def _ask(self, data: bytes) -> Answer:
        while self._idle:  # one that was idle may be closed at the other end: the next, or a new one
            answer = await self._talk(self._idle.pop(), data, reused=True)
            if answer is not None:
                return answer
        answer = await self._talk(await self._connect(), data)
        assert answer is not None  # noqa: S101 - only reused connections answer None
        return answer

    async def _connect(self) -> Pipe:
        if self.address.path:
            return Plain(await self._connected(socket.AF_UNIX, self.address.path))
        loop, trouble = asyncio.get_running_loop(), OSError(f"{self.address.host} has no address")
        try:
            places = await loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        except RuntimeError as error:  # what a framework tells of while the interpreter ends: too late for a thread
            raise Away(str(error)) from error
        for family, _, _, _, place in places:
            try:
                made = await self._connected(family, place)
            except OSError as error:
                trouble = error
            else:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return await self._secured(Plain(made)) if self.address.tls else Plain(made)
        raise trouble

    async def _secured(self, plain: Plain) -> Tls:
        try:
            tls = Tls(plain, self.credentials.tls(), self.address.host)
            await tls.shake_hands()
        except BaseException:
            plain.close()
            raise
        return tls

    async def _connected(self, family: int, place: Any) -> socket.socket:
        made = socket.socket(family)
        try:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, place)
        except BaseException:
            made.close()
            raise
        return made

    async def _talk(self, made: Pipe, data: bytes, *, reused: bool = False) -> Answer | None:
        """The answer; None where a reused connection turned out to be closed."""
        reading, answer = Reading(), None
        try:
            await made.send(data)
            while answer is None:
                came = await made.receive()
                if not came and reused and not reading.begun:
                    return None
                answer = reading.feed(came)
        except ConnectionError:
            if reused and not reading.begun:
                return None
            raise
        finally:
            if answer is not None and answer.reusable:
                self._idle.append(made)
            else:
                made.close()
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
