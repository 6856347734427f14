"""A real sidecar in a thread of its own, which can go away and come back at the same place."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from sidecar.app import Sidecar, make_app
from sidecar.client import Client
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.journal.memory import MemoryJournal


class Neighbour:
    """A sidecar beside the agent. `stop` and `start` as often as a test likes; its port and its journal stay."""

    def __init__(self, **settings: Any) -> None:
        self.port = 0
        self.settings = settings
        self.app: Sidecar | None = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def start(self) -> None:
        listen = HostPort("127.0.0.1", self.port)
        free = HostPort("127.0.0.1", 0)
        config = Config(**{"listen": (listen,), "telemetry": free, "otlp": None, "journal": "memory:", **self.settings})
        self.app = self.do(self._started(config))
        self.port = int(self.app.urls["api"][-1].rpartition(":")[2])

    async def _started(self, config: Config) -> Sidecar:
        app = make_app(config, journal=MemoryJournal() if config.journal_url == "memory:" else None)
        await app.start()
        return app

    def stop(self) -> None:
        if self.app is not None:
            self.do(self.app.stop())
            self.app = None

    def end(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def neighbour(tmp_path):
    """A sidecar whose journal outlives it."""
    made = Neighbour(journal=f"sqlite:///{tmp_path / 'journal.db'}")
    yield made
    made.end()


@pytest.fixture
def client(neighbour):
    """A client of it that tries every call, however often none was answered."""
    with Client(neighbour.url, timeout=10, rest=0) as made:
        yield made


@pytest.fixture
def asks(neighbour):
    """Read anything from the API, with a client of its own."""
    with Client(neighbour.url, fail="closed", timeout=10) as made:
        yield lambda session, *parts, **query: made.session(session).call("GET", *parts, **query)
