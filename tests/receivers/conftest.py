"""A real sidecar on free ports, and a client that calls it."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sidecar.app import Sidecar, make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort

LOOPBACK = HostPort("127.0.0.1", 0)
SMALL = 64 << 10  # bytes of a body, and
FEW = 600  # events of a batch, so that bounds can be tried


def config(**settings: Any) -> Config:
    """Settings for a test: free ports, a journal in memory."""
    return Config(**{"listen": (LOOPBACK,), "telemetry": LOOPBACK, "otlp": None, "journal": "memory:", **settings})


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: Any


class Client:
    """Calls the API. A body that is not bytes is sent as JSON."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self.http = http
        self.base = base

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent: dict[str, Any] = {"json": body} if not isinstance(body, bytes | io.IOBase | None) else {"data": body}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if "data" in sent and body is not None and "Content-Type" not in named:
            named["Content-Type"] = "application/json"
        async with self.http.request(method, f"{self.base}{path}", headers=named, **sent) as answer:
            json = "json" in answer.headers.get("Content-Type", "")
            return Answer(
                answer.status, answer.headers, await answer.json(content_type=None) if json else await answer.text()
            )

    async def state(self) -> Any:
        """Everything that the API shows of every session, so that nothing changed can be told."""
        shown = []
        for summary in (await self("GET", "/v1/sessions")).body["sessions"]:
            path = f"/v1/sessions/{summary['session']}"
            parts = ("", "/items", "/archive", "/ledger?limit=1000", "/directives")
            shown.append([(await self("GET", path + part)).body for part in parts])
        return shown


@pytest.fixture
def settings() -> Callable[..., Config]:
    """Make settings for a sidecar of one's own."""
    return config


@pytest.fixture
def client_of() -> Callable[[Sidecar], AbstractAsyncContextManager[Client]]:
    """Make a client of a sidecar that runs."""

    @asynccontextmanager
    async def client(app: Sidecar) -> AsyncIterator[Client]:
        async with aiohttp.ClientSession() as http:
            yield Client(http, app.urls["api"][0])

    return client


@pytest.fixture
async def running() -> AsyncIterator[Sidecar]:
    """A sidecar with a journal in memory and small bounds."""
    async with make_app(config(max_body_bytes=SMALL, max_batch_events=FEW)) as app:
        yield app


@pytest.fixture
async def call(running: Sidecar, client_of: Any) -> AsyncIterator[Client]:
    """A client of it."""
    async with client_of(running) as client:
        yield client


@pytest.fixture
async def session(call: Client) -> str:
    """An open session with an item in its window; the path of its calls."""
    path = "/v1/sessions/s1"
    assert (await call("PUT", path, {"agent": "tester"})).status == 201
    item = {"id": "main.py", "kind": "file", "tokens": 3000, "path": "src/main.py"}
    batch = await call("POST", "/v1/events", [{"type": "put_item", "session": "s1", "item": item}])
    assert batch.body["accepted"] == 1
    return path
