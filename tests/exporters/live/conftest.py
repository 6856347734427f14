"""A real sidecar, a client of its API, and readers of its stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sidecar.app import Sidecar, make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.exporters.live.feed import CAPACITY, Feed

LOOPBACK = HostPort("127.0.0.1", 0)
SOON = 10.0  # seconds that an event may take on a busy machine


def config(**settings: Any) -> Config:
    """Settings for a test: free ports, a journal in memory."""
    return Config(**{"listen": (LOOPBACK,), "telemetry": LOOPBACK, "otlp": None, "journal": "memory:", **settings})


@dataclass
class Event:
    """One server-sent event as a browser would see it."""

    name: str
    id: str
    data: Any


class Reader:
    """Reads a stream as the HTML standard says."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.comments = 0
        self.id = ""

    async def next(self) -> Event:
        """The next event that has data."""
        name, data = "message", ""
        while True:
            line = (await asyncio.wait_for(self.answer.content.readline(), SOON)).decode()
            assert line, "the stream ended"
            field, _, value = line.rstrip("\n").partition(": ")
            if line == "\n":
                if data:
                    return Event(name, self.id, json.loads(data))
                name = "message"
            elif not field:
                self.comments += 1
            elif field == "id":
                self.id = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value

    async def many(self, count: int) -> list[Event]:
        """So many events."""
        return [await self.next() for _ in range(count)]

    async def named(self, name: str) -> Event:
        """The next event of that name, whatever comes before it."""
        while (event := await self.next()).name != name:
            pass
        return event


class Client:
    """Calls the API, and opens streams."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json(content_type=None)

    async def put(self, session: str, *items: str, tokens: int = 10) -> None:
        """Put items of a small size into a window, which opens it."""
        events = [
            {"type": "put_item", "session": session, "item": {"id": item, "kind": "file", "tokens": tokens}}
            for item in items
        ]
        answer = await self("POST", "/v1/events", events)
        assert answer["accepted"] == len(items), answer

    @asynccontextmanager
    async def stream(self, query: str = "", last: str | None = None) -> AsyncIterator[Reader]:
        """Open a stream; the headers of its answer are there already."""
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self.http.get(f"/v1/stream{query}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            yield Reader(answer)


@asynccontextmanager
async def serving(*, capacity: int = CAPACITY, journal: Any = None, **settings: Any) -> AsyncIterator[Any]:
    """A sidecar that runs, and a client of it. `capacity`: of its feed."""
    app = make_app(config(**settings), journal=journal)
    app.feed._capacity = capacity
    async with app, client_of(app) as client:
        yield app, client


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., Any]]:
    """Start sidecars with settings of their own, each with a client of it; all are stopped in the end."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> tuple[Sidecar, Client]:
            started: tuple[Sidecar, Client] = await stack.enter_async_context(serving(**settings))
            return started

        yield start


@asynccontextmanager
async def client_of(app: Sidecar) -> AsyncIterator[Client]:
    """A client with as many connections as it likes."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(app.urls["api"][0], connector=connector) as http:
        yield Client(http)


@pytest.fixture
async def app(build: Any) -> Sidecar:
    """A sidecar."""
    made: tuple[Sidecar, Client] = await build()
    return made[0]


@pytest.fixture
async def client(app: Sidecar) -> AsyncIterator[Client]:
    """A client of it."""
    async with client_of(app) as made:
        yield made


@pytest.fixture
def feed() -> Feed:
    """A feed that holds four entries."""
    return Feed(capacity=4)
