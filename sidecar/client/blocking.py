"""The blocking client: sockets of the standard library, reused; any thread may call."""

import contextlib
import socket
import time
import weakref
from collections import deque
from typing import Any, Self, TypeVar

from sidecar.client.address import Address
from sidecar.client.calls import Call, SessionCalls
from sidecar.client.course import Courses, Openable, Send
from sidecar.client.credentials import VARIABLES, Credentials
from sidecar.client.wire import Answer, Reading

R = TypeVar("R")
CHUNK = 256 << 10


class Client:
    """A connection to a sidecar: `http(s)://HOST:PORT`, `unix:PATH`, or None for `TOKEN_BUDGET_URL` or its default.

    Settings as `Courses` has them: `timeout`, `fail` ("open" or "closed"), `buffer`, `rest`; and as `Credentials` has
    them, where the sidecar asks who calls: `token_file`, `ca_file`, `certificate_file`, `key_file`.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self.address = Address.read(url)
        files = {name: settings.pop(name) for name in VARIABLES if name in settings}
        self.credentials = Credentials(**files)
        self.courses = Courses(**settings)
        self._idle: deque[socket.socket] = deque()
        weakref.finalize(self, close_all, self._idle)

    def session(self, id: str, **opening: Any) -> "Session":
        """A session by its id, opened by its first call with `agent`, `parent`, `model`, `total_tokens`, ..."""
        return Session(self, id, opening)

    def run(self, session: Openable, call: Call[R]) -> R:
        """Make a call. Raises `Refused`, `Away`."""
        course = self.courses.run(session, call)
        try:
            step = next(course)
            while True:
                try:
                    answer = self._do(step)
                except Exception as error:  # noqa: BLE001 - the course knows what to make of it
                    step = course.throw(error)
                else:
                    step = course.send(answer)
        except StopIteration as end:
            reply: R = end.value
            return reply

    def close(self) -> None:
        """Close the connections. What was kept for an absent sidecar is lost."""
        close_all(self._idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, step: Any) -> Answer | None:
        if not isinstance(step, Send):
            time.sleep(step.seconds)
            return None
        data = step.request.encode(self.address.authority, self.credentials.headers())
        with contextlib.suppress(IndexError):
            while True:  # a connection that was idle may be closed at the other end: the next, or a new one
                idle = self._idle.pop()
                answer = self._talk(idle, data, step.deadline, reused=True)
                if answer is not None:
                    return answer
        return self._talk(self._connect(step.deadline), data, step.deadline)

    def _left(self, deadline: float) -> float:
        left = deadline - self.courses.clock()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def _connect(self, deadline: float) -> socket.socket:
        if not self.address.path:
            made = socket.create_connection((self.address.host, self.address.port), timeout=self._left(deadline))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(made) if self.address.tls else made
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(self._left(deadline))
            made.connect(self.address.path)
        except BaseException:
            made.close()
            raise
        return made

    def _secured(self, made: socket.socket) -> socket.socket:
        try:
            return self.credentials.tls().wrap_socket(made, server_hostname=self.address.host)
        except BaseException:
            made.close()
            raise

    def _talk(self, made: socket.socket, data: bytes, deadline: float, *, reused: bool = False) -> Answer | None:
        """The answer; None where a reused connection turned out to be closed."""
        reading, answer = Reading(), None
        try:
            made.settimeout(self._left(deadline))
            made.sendall(data)
            while answer is None:
                made.settimeout(self._left(deadline))
                came = made.recv(CHUNK)
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


def close_all(idle: deque[Any]) -> None:
    """Close the connections that nobody uses; also done when their client is forgotten."""
    while idle:
        idle.pop().close()


class Session(SessionCalls):
    """One session, one window; each call answers its reply."""

    def __init__(self, client: Client, id: str, opening: dict[str, Any]) -> None:
        self.client = client
        self.id = id
        self.opening = {name: value for name, value in opening.items() if value is not None}

    def run(self, call: Call[R]) -> R:
        """Make a call of this session."""
        return self.client.run(self, call)
