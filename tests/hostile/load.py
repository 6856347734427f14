"""Callers that call as fast as they are answered, each over a connection of its own, with their times written down."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Calls:
    """What was answered: how often each status, and the seconds that answers of success took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    retry_after: set[int] = field(default_factory=set)

    def quantile(self, share: float) -> float:
        """The time within which so many of the successes were answered, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Body = Callable[[int], Any]  # the body of a caller's nth call


class _Connection(asyncio.Protocol):
    """One connection. The least that HTTP needs, so that the caller is not what is measured."""

    def __init__(self) -> None:
        self._got = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: Any = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if end and self._answer is not None and not self._answer.done():
            told = _LENGTH.search(head)
            if told is None or len(body) >= int(told[1]):
                self._got = b""
                self._answer.set_result((int(head[9:12]), head))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the sidecar closed the connection"))

    def call(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; its answer's status and head."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer


async def caller(url: str, path: str, body: Body, calls: Calls, until: Callable[[], bool], *, pause: float = 0) -> None:
    """POST one body after the other until told to stop. `pause`: seconds between an answer and the next call."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, parts.hostname, parts.port)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    number = 0
    try:
        while not until():
            number += 1
            data = json.dumps(body(number)).encode()
            begun = time.perf_counter()
            status, told = await connection.call(f"{head}{len(data)}\r\n\r\n".encode() + data)
            calls.statuses[status] += 1
            if status == 200:
                calls.seconds.append(time.perf_counter() - begun)
            elif retry := _RETRY.search(told):
                calls.retry_after.add(int(retry[1]))
            await asyncio.sleep(pause)
    finally:
        connection.transport.close()


def allocation(name: str) -> Body:
    """One token, again and again, each call with an id of its own."""
    return lambda number: {"component": "working_memory", "tokens": 1, "request_id": f"{name}-{number}"}


def puts(session: str, name: str, count: int) -> Body:
    """Batches of so many items."""

    def batch(number: int) -> Any:
        ids = (f"{name}-{number}-{index}" for index in range(count))
        return [{"type": "put_item", "session": session, "item": {"id": id, "kind": "file", "tokens": 1}} for id in ids]

    return batch
